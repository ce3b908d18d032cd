/** A model as the API lists it. */

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
  /** "Q4_0", "F16", … as the file says; null where unknown. */
  quantization: string | null;
  numParameters: number | null;
  sizeBytes: number | null;
}
