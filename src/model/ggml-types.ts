/**
 * Tensor types by their id in the file: which of them the engines read, and the names of all others, so that a refusal
 * can say "IQ2_XXS (16)". Ids: enum ggml_type in ggml.h.
 */
import { GGML_BLOCK, GGML_TYPE, type GgmlTypeName } from "./gguf.ts";

const READABLE = new Map(Object.entries(GGML_TYPE).map(([name, id]) => [id as number, name as GgmlTypeName]));

/** Ids 4, 5, 31–33 and 36–38 were withdrawn; old files still carry them. */
const UNREADABLE: Record<number, string> = {
  4: "Q4_2",
  5: "Q4_3",
  9: "Q8_1",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  21: "IQ3_S",
  22: "IQ2_S",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  31: "Q4_0_4_4",
  32: "Q4_0_4_8",
  33: "Q4_0_8_8",
  34: "TQ1_0",
  35: "TQ2_0",
  36: "IQ4_NL_4_4",
  37: "IQ4_NL_4_8",
  38: "IQ4_NL_8_8",
  39: "MXFP4",
  40: "NVFP4",
  41: "Q1_0",
};

export const READABLE_TYPE_NAMES: readonly GgmlTypeName[] = Object.keys(GGML_TYPE) as GgmlTypeName[];

/** The readable type with this id, or null. */
export function ggmlTypeFromId(id: number): GgmlTypeName | null {
  return READABLE.get(id) ?? null;
}

/** For messages: "Q4_K (12)", "IQ2_XXS (16)", "unknown type (77)". */
export function ggmlTypeLabel(id: number): string {
  return `${READABLE.get(id) ?? UNREADABLE[id] ?? "unknown type"} (${id})`;
}

/** Bytes of `numElements` elements. Exact only for whole blocks. */
export function ggmlSizeBytes(type: GgmlTypeName, numElements: number): number {
  const block = GGML_BLOCK[type];
  return (numElements / block.elements) * block.bytes;
}
