/**
 * Streams the data section of a GGUF file into linear memory. Matrices go through a small staging buffer and are packed
 * by the kernels' own packer, vectors are copied as they are: at no time is there a second copy of the model.
 */
import { GGML_BLOCK, type GgufHeader, type GgufTensorInfo } from "../../model/gguf.ts";
import { type GgufData, tensorPieces } from "../../model/gguf-reader.ts";
import type { ModelSpec, RopeSpec } from "../../model/model-spec.ts";
import { type CpuExports, formatId } from "./exports.ts";
import type { CpuMemoryPlan } from "./memory-plan.ts";
import { ropeFactors, ropeFrequencies, ropeTables, storedTensors } from "./model-descriptor.ts";

export interface LoadProgress {
  loadedBytes: number;
  totalBytes: number;
}

/** Large enough that a call into WASM costs nothing beside packing, small enough for the cache. */
const STAGING_BYTES_MAX = 128 * 1024;

/** @throws ModelError where the file ends early or its source fails */
export async function loadWeights(
  exports: CpuExports,
  spec: ModelSpec,
  plan: CpuMemoryPlan,
  file: { header: GgufHeader; data: GgufData },
  onProgress: (progress: LoadProgress) => void = () => {},
): Promise<void> {
  const { addresses } = plan;
  const bytes = new Uint8Array(exports.memory.buffer);
  const factors = new RopeFactors(spec, plan);
  const wanted = new Set([...storedTensors(spec), ...factors.tensors].map(identity));
  const totalBytes = file.header.tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
  // KV pool and scratch hold nothing yet: their room is the staging buffer, and is cleared afterwards.
  const staging = { address: addresses.kv, bytes: Math.min(STAGING_BYTES_MAX, plan.totalBytes - addresses.kv) };
  const packer = new StreamPacker(exports, bytes, staging);

  let loadedBytes = 0;
  for await (const { tensor, offsetBytes, bytes: piece } of tensorPieces(file.header, file.data)) {
    if (wanted.has(identity(tensor))) {
      const address = addresses.tensors.get(tensor.name);
      if (address === undefined) factors.push(tensor, offsetBytes, piece);
      else if (tensor.dims.length === 1) bytes.set(piece, address + offsetBytes);
      else packer.push(tensor, address, offsetBytes, piece);
    }
    if (offsetBytes + piece.length === tensor.sizeBytes) wanted.delete(identity(tensor));
    loadedBytes += piece.length;
    onProgress({ loadedBytes, totalBytes });
  }
  if (wanted.size > 0) throw new Error(`The file is not the one of the spec: it lacks ${[...wanted].join(", ")}.`);
  bytes.fill(0, staging.address, staging.address + staging.bytes);
  const frequencies = factors.frequencies();
  new Float64Array(exports.memory.buffer, addresses.ropeFrequencies, frequencies.length).set(frequencies);
}

/** Frequencies of all rope tables, divided by the factors in the file where a table has some. */
class RopeFactors {
  readonly #tables: { rope: RopeSpec; factors: GgufTensorInfo | null }[];
  readonly #bytes: Map<string, Uint8Array<ArrayBuffer>>;

  constructor(spec: ModelSpec, { contextLength }: CpuMemoryPlan) {
    this.#tables = ropeTables(spec).map((rope) => ({ rope, factors: ropeFactors(rope, contextLength) }));
    this.#bytes = new Map(this.tensors.map(({ name, sizeBytes }) => [name, new Uint8Array(sizeBytes)]));
  }

  get tensors(): GgufTensorInfo[] {
    return this.#tables.map(({ factors }) => factors).filter((factors) => factors !== null);
  }

  push({ name }: GgufTensorInfo, offsetBytes: number, piece: Uint8Array): void {
    this.#bytes.get(name)!.set(piece, offsetBytes);
  }

  /** Table after table. */
  frequencies(): number[] {
    return this.#tables.flatMap(({ rope, factors }) => {
      const divisors = factors === null ? null : new Float32Array(this.#bytes.get(factors.name)!.buffer);
      return [...ropeFrequencies(rope, divisors)];
    });
  }
}

/** Spec and header may come from two readings of a file; what must agree is this. */
function identity({ name, type, dims }: GgufTensorInfo): string {
  return `${name} (${type} ${dims.join("×")})`;
}

/** Feeds pieces of any length to the packer, which takes whole blocks; a block cut by a piece's end waits in staging. */
class StreamPacker {
  readonly #exports: CpuExports;
  readonly #memory: Uint8Array;
  readonly #staging: { address: number; bytes: number };
  #carriedBytes = 0;

  constructor(exports: CpuExports, memory: Uint8Array, staging: { address: number; bytes: number }) {
    this.#exports = exports;
    this.#memory = memory;
    this.#staging = staging;
  }

  push(tensor: GgufTensorInfo, address: number, offsetBytes: number, piece: Uint8Array): void {
    const blockBytes = GGML_BLOCK[tensor.type].bytes;
    const { address: staging, bytes: stagingBytes } = this.#staging;
    // Pieces of a tensor come in order, so the carried bytes are those just before this piece.
    let firstBlock = (offsetBytes - this.#carriedBytes) / blockBytes;
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + stagingBytes - this.#carriedBytes);
      this.#memory.set(part, staging + this.#carriedBytes);
      at += part.length;
      const filledBytes = this.#carriedBytes + part.length;
      const numBlocks = Math.floor(filledBytes / blockBytes);
      this.#pack(tensor, address, firstBlock, numBlocks);
      firstBlock += numBlocks;
      this.#memory.copyWithin(staging, staging + numBlocks * blockBytes, staging + filledBytes);
      this.#carriedBytes = filledBytes - numBlocks * blockBytes;
    }
  }

  #pack(tensor: GgufTensorInfo, address: number, firstBlock: number, numBlocks: number): void {
    const [cols = 0, rows = 0] = tensor.dims;
    const format = formatId(tensor.type);
    const failed = this.#exports.pack_blocks(format, rows, cols, address, firstBlock, this.#staging.address, numBlocks);
    if (failed !== 0)
      throw new Error(`Blocks ${firstBlock} to ${firstBlock + numBlocks} of ${tensor.name} do not fit it.`);
  }
}
