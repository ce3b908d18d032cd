/** What a GGUF header says about its weights, for lists and manifests. */
import type { GgmlTypeName, GgufHeader } from "./gguf.ts";

export interface ModelDescription {
  /** Elements of all tensors but rope factors, which are tables. A tied head counts once. */
  numParameters: number;
  /** Type of most weights. A mix such as "Q4_K_M" has no type of its own, and may be mostly another one. */
  quantization: GgmlTypeName;
  /** All types, most elements first. */
  types: TypeShare[];
  weightsBytes: number;
}

export interface TypeShare {
  type: GgmlTypeName;
  numTensors: number;
  numElements: number;
  sizeBytes: number;
}

export function describeModel(header: GgufHeader): ModelDescription {
  const shares = new Map<GgmlTypeName, TypeShare>();
  for (const { name, type, dims, sizeBytes } of header.tensors) {
    if (/^rope_(freqs|factors_(long|short))\.weight$/.test(name)) continue;
    const share = shares.get(type) ?? { type, numTensors: 0, numElements: 0, sizeBytes: 0 };
    share.numTensors++;
    share.numElements += dims.reduce((product, dim) => product * dim, 1);
    share.sizeBytes += sizeBytes;
    shares.set(type, share);
  }
  const types = [...shares.values()].sort((a, b) => b.numElements - a.numElements);
  return {
    numParameters: types.reduce((sum, share) => sum + share.numElements, 0),
    quantization: types[0]?.type ?? "F32",
    types,
    weightsBytes: types.reduce((sum, share) => sum + share.sizeBytes, 0),
  };
}

/** "Q5_0×166 Q8_0×15 F32×61" */
export function describeTypes(types: readonly TypeShare[]): string {
  return types.map(({ type, numTensors }) => `${type}×${numTensors}`).join(" ");
}
