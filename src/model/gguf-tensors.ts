/**
 * Tensor infos of a GGUF header, and the rules their places in the data section must keep: whole blocks in every row,
 * aligned, inside the file, none over another. A backend may then trust offsets and sizes without looking again.
 */
import { ModelError } from "./errors.ts";
import { ggmlSizeBytes, ggmlTypeFromId, ggmlTypeLabel, READABLE_TYPE_NAMES } from "./ggml-types.ts";
import { GGML_BLOCK, type GgufHeader, type GgufTensorInfo } from "./gguf.ts";
import { MAX_RANK, MAX_TENSOR_NAME_BYTES } from "./gguf-limits.ts";
import { type HeaderState, readName } from "./gguf-state.ts";

export function* readTensorInfo(
  state: HeaderState,
  index: number,
  numTensors: number,
  alignmentBytes: number,
): Generator<number, GgufTensorInfo, void> {
  const { cursor } = state;
  state.reading = `the name of tensor ${index + 1} of ${numTensors}`;
  const name = yield* readName(state, MAX_TENSOR_NAME_BYTES);
  state.reading = `the tensor "${name}"`;
  if (cursor.remaining < 4) yield 4;
  const rank = cursor.u32();
  if (rank < 1 || rank > MAX_RANK) throw state.corrupt(`has ${rank} dimensions; 1 to ${MAX_RANK} are allowed`);
  const numBytes = rank * 8 + 12;
  state.checkLength("its description", numBytes, numBytes);
  if (cursor.remaining < numBytes) yield numBytes;

  const dims: number[] = [];
  let numElements = 1;
  for (let i = 0; i < rank; i++) {
    const dim = cursor.u64();
    dims.push(dim);
    numElements *= dim;
    if (dim < 1 || !Number.isSafeInteger(dim) || !Number.isSafeInteger(numElements)) {
      throw state.corrupt(
        `has the dimensions ${dims.join(" × ")}; each must be at least 1 and their product under 2^53`,
      );
    }
  }
  const typeId = cursor.u32();
  const offsetBytes = cursor.u64();
  return checkTensor(state, { name, dims, typeId, numElements, offsetBytes, alignmentBytes });
}

interface RawTensor {
  name: string;
  dims: number[];
  typeId: number;
  numElements: number;
  offsetBytes: number;
  alignmentBytes: number;
}

function checkTensor(state: HeaderState, raw: RawTensor): GgufTensorInfo {
  const type = ggmlTypeFromId(raw.typeId);
  if (type === null) {
    throw new ModelError(
      "unsupported_type",
      `${state.sourceName}: ${state.reading} has the type ${ggmlTypeLabel(raw.typeId)}, which is not supported. ` +
        `Supported: ${READABLE_TYPE_NAMES.join(", ")}. Quantize the model to one of these.`,
    );
  }
  const rowLength = raw.dims[0]!;
  const { elements } = GGML_BLOCK[type];
  if (rowLength % elements !== 0) {
    throw state.corrupt(`has rows of ${rowLength} elements; ${type} needs a multiple of ${elements}`);
  }
  const sizeBytes = ggmlSizeBytes(type, raw.numElements);
  if (!Number.isSafeInteger(sizeBytes) || !Number.isSafeInteger(raw.offsetBytes + sizeBytes)) {
    throw state.corrupt(`has ${sizeBytes} bytes at offset ${raw.offsetBytes}, past any file`);
  }
  if (raw.offsetBytes % raw.alignmentBytes !== 0) {
    throw state.corrupt(`starts at offset ${raw.offsetBytes}, which is no multiple of ${raw.alignmentBytes}`);
  }
  return { name: raw.name, type, dims: raw.dims, offsetBytes: raw.offsetBytes, sizeBytes };
}

/** @returns tensors by their place in the file */
export function inFileOrder(tensors: readonly GgufTensorInfo[]): GgufTensorInfo[] {
  return [...tensors].sort((a, b) => a.offsetBytes - b.offsetBytes);
}

/** Refuses tensors that overlap or end after the file. @throws ModelError */
export function checkTensorLayout(header: GgufHeader, sourceName: string, fileSizeBytes: number | null): void {
  let last: GgufTensorInfo | null = null;
  for (const tensor of inFileOrder(header.tensors)) {
    if (last !== null && last.offsetBytes + last.sizeBytes > tensor.offsetBytes) {
      throw new ModelError(
        "corrupt",
        `${sourceName}: the tensor "${tensor.name}" at offset ${tensor.offsetBytes} overlaps "${last.name}", which ` +
          `ends at ${last.offsetBytes + last.sizeBytes}. The file is damaged.`,
      );
    }
    last = tensor;
  }
  if (last === null || fileSizeBytes === null) return;
  const endBytes = header.dataOffsetBytes + last.offsetBytes + last.sizeBytes;
  if (endBytes > fileSizeBytes) {
    throw new ModelError(
      "corrupt",
      `${sourceName} is truncated: the tensor "${last.name}" ends at byte ${endBytes}, the file at ${fileSizeBytes} ` +
        `(${endBytes - fileSizeBytes} bytes are missing). Download it again.`,
    );
  }
}
