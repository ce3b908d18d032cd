/** A model as the API lists it. */

/** What it takes beyond a plain prompt: "tools" and "thinking" where its chat template knows them. */
export const MODEL_CAPABILITIES = ["completion", "tools", "thinking"] as const;
export type ModelCapability = (typeof MODEL_CAPABILITIES)[number];

export interface ModelInfo {
  id: string;
  /** Of a LoRA adapter, the model it is applied to; null for a whole model. */
  parent: string | null;
  /** Unix seconds. */
  created: number;
  ownedBy: string;
  /** Longest prompt and output together; null where unknown. */
  contextLength: number | null;
  description: string | null;
  /** "llama", "qwen3" …, as GGUF names it; null where unknown. */
  architecture: string | null;
  /** "Q4_0", "F16", … as the file says; null where unknown. */
  quantization: string | null;
  numParameters: number | null;
  sizeBytes: number | null;
  /** Of the model file, in hex; null where unknown. */
  sha256: string | null;
  /** SPDX id where the file or its maker says. */
  license: string | null;
  capabilities: readonly ModelCapability[];
  /** Where its weights lie ready, as far as the host that lists it can see; null = not in sight. */
  residency: "cpu" | "gpu" | null;
}
