/**
 * The header of a LoRA adapter's GGUF file, as llama.cpp's convert_lora_to_gguf.py writes it, checked against the model it
 * is for. A matrix W of the base has a pair there: "blk.0.attn_q.weight.lora_a" [rank, in] and ".lora_b" [out, rank], and
 * W · x becomes W · x + scale · B · (A · x). Whatever in the file could not be applied is refused by name: an answer with a
 * part of an adapter would be wrong without anybody noticing.
 */
import { ModelError } from "./errors.ts";
import type { GgufHeader, GgufTensorInfo } from "./gguf.ts";
import { Metadata } from "./metadata.ts";
import type { LayerRole, ModelSpec } from "./model-spec.ts";

/** What people train has 4 to 128. A step holds numbers for each of its tokens and ranks. */
export const LORA_RANK_MAX = 256;

/** The converter writes others only where it is asked to. */
const TYPES = ["F32", "F16", "BF16"] as const;
export type LoraTensorType = (typeof TYPES)[number];

export interface LoraTensor extends GgufTensorInfo {
  type: LoraTensorType;
}

export interface LoraPair {
  /** dims [in, rank]. */
  a: LoraTensor;
  /** dims [rank, out]. */
  b: LoraTensor;
  rank: number;
  /** alpha / rank; without an alpha 1, as llama.cpp has it. */
  scale: number;
}

/** By the name of the base's tensor, in the base's file; never empty. */
export type LoraPairs = ReadonlyMap<string, LoraPair>;

/** The matrices of a layer that may be adapted. */
export const LORA_ROLES = [
  "attnQ",
  "attnK",
  "attnV",
  "attnOutput",
  "ffnGate",
  "ffnUp",
  "ffnDown",
] as const satisfies readonly LayerRole[];

/**
 * @param sourceName for messages
 * @throws ModelError `unfit` for what does not belong to the base, `unsupported_type`, `missing` or `corrupt`
 */
export function loraFromGguf(header: GgufHeader, sourceName: string, base: ModelSpec): LoraPairs {
  const meta = new Metadata(header, sourceName);
  checkKind(meta, sourceName, base);
  const alpha = meta.number("adapter.lora.alpha") ?? 0;
  const targets = targetsOf(base);
  const halves = new Map<string, { a?: LoraTensor; b?: LoraTensor }>();
  for (const tensor of header.tensors) {
    const match = /^(.+)\.lora_([ab])$/.exec(tensor.name);
    const target = match?.[1];
    if (target === undefined || !targets.has(target)) throw unknownTensor(tensor.name, sourceName, base);
    halves.set(target, { ...halves.get(target), [match![2]!]: readable(tensor, sourceName) });
  }
  const pairs = new Map<string, LoraPair>();
  for (const [name, { a, b }] of halves) {
    if (a === undefined || b === undefined) {
      const [there, lacking] = a === undefined ? ["lora_b", "lora_a"] : ["lora_a", "lora_b"];
      throw new ModelError("missing", `${sourceName} has "${name}.${there}" without "${name}.${lacking}".`);
    }
    pairs.set(name, pairOf({ a, b }, alpha, targets.get(name)!, sourceName));
  }
  if (pairs.size === 0) throw new ModelError("missing", `${sourceName} has no tensors: it adapts nothing.`);
  return pairs;
}

function checkKind(meta: Metadata, sourceName: string, base: ModelSpec): void {
  const wanted = [
    ["general.type", "adapter"],
    ["adapter.type", "lora"],
  ] as const;
  for (const [key, value] of wanted) {
    const found = meta.string(key);
    if (found === value) continue;
    throw new ModelError(
      "unfit",
      `${sourceName} is no LoRA adapter: "${key}" is ${JSON.stringify(found)}; it must be "${value}". ` +
        "Convert one with llama.cpp's convert_lora_to_gguf.py.",
    );
  }
  const architecture = meta.required("general.architecture", meta.string("general.architecture"));
  if (architecture !== base.architecture) {
    throw new ModelError(
      "unfit",
      `${sourceName} is an adapter for the architecture ${JSON.stringify(architecture)}; the model's is ` +
        `"${base.architecture}". Give it to the model it was trained on.`,
    );
  }
  if (meta.has("adapter.alora.invocation_tokens")) {
    throw new ModelError(
      "unfit",
      `${sourceName} is an activated LoRA ("adapter.alora.invocation_tokens"), which is not supported.`,
    );
  }
}

/** Dims of every matrix that may be adapted, by its tensor; where a tensor has several roles, of all its rows. */
function targetsOf({ tensors }: ModelSpec): Map<string, readonly number[]> {
  const roles = tensors.layers.flatMap((layer) => LORA_ROLES.map((role) => layer[role]));
  return new Map(roles.flatMap((role) => (role === null ? [] : [[role.stored.name, role.stored.dims] as const])));
}

function unknownTensor(name: string, sourceName: string, base: ModelSpec): ModelError {
  return new ModelError(
    "unfit",
    `${sourceName}: the tensor "${name}" cannot be applied to a ${base.architecture} model of ${base.numLayers} layers. ` +
      "Adapters of attention's and the feed-forward layers' matrices are (blk.N.attn_q.weight.lora_a and so on), " +
      "of embeddings, norms and the head are not.",
  );
}

function readable(tensor: GgufTensorInfo, sourceName: string): LoraTensor {
  const type = TYPES.find((one) => one === tensor.type);
  if (type !== undefined) return { ...tensor, type };
  throw new ModelError(
    "unsupported_type",
    `${sourceName}: the tensor "${tensor.name}" is ${tensor.type}; adapters must be ${TYPES.join(", ")}. ` +
      "Convert the adapter again with --outtype f16.",
  );
}

function pairOf(
  { a, b }: Pick<LoraPair, "a" | "b">,
  alpha: number,
  baseDims: readonly number[],
  sourceName: string,
): LoraPair {
  const rank = a.dims[1] ?? 1;
  if (rank > LORA_RANK_MAX) {
    throw new ModelError(
      "unfit",
      `${sourceName}: the tensor "${a.name}" has the rank ${rank}; at most ${LORA_RANK_MAX} are applied.`,
    );
  }
  const [inner, out] = [baseDims[0]!, baseDims[1] ?? 1];
  for (const [tensor, wanted] of [
    [a, [inner, rank]],
    [b, [rank, out]],
  ] as const) {
    const isEqual = tensor.dims.length <= 2 && wanted.every((dim, i) => dim === (tensor.dims[i] ?? 1));
    if (isEqual) continue;
    throw new ModelError(
      "unfit",
      `${sourceName}: the tensor "${tensor.name}" is ${tensor.dims.join(" × ")}; for the model's matrix of ` +
        `${inner} × ${out} and the rank ${rank} it must be ${wanted.join(" × ")}. Is it for another size of the model?`,
    );
  }
  return { a, b, rank, scale: alpha === 0 ? 1 : alpha / rank };
}
