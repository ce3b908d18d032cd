/**
 * Reads a GGUF file in one forward pass: the header, then the weights as they come. Nothing seeks and nothing holds the
 * file, so the peak is the header plus one chunk, and weights can go from the network straight into linear memory.
 *
 *   const { header, data } = await readGguf(source);
 *   for await (const { tensor, offsetBytes, bytes } of tensorPieces(header, data)) …
 */
import type { ByteSource } from "./byte-source.ts";
import { type ChunkReader, chunkReader } from "./chunk-reader.ts";
import { ModelError } from "./errors.ts";
import type { GgufHeader, GgufTensorInfo } from "./gguf.ts";
import { parseHeader } from "./gguf-header.ts";
import { HeaderState } from "./gguf-state.ts";
import { inFileOrder } from "./gguf-tensors.ts";

export interface GgufFile {
  header: GgufHeader;
  /** The rest of the same stream. Iterate it or cancel it. */
  data: GgufData;
}

export interface DataChunk {
  /** Offset in the file of bytes[0]; the first chunk starts right after the header, before the padding. */
  fileOffsetBytes: number;
  bytes: Uint8Array;
}

/** What follows the header, chunk by chunk, once. */
export class GgufData implements AsyncIterable<DataChunk> {
  readonly sourceName: string;
  readonly #reader: ChunkReader;
  #first: Uint8Array;
  #offsetBytes: number;

  constructor(sourceName: string, reader: ChunkReader, first: Uint8Array, offsetBytes: number) {
    this.sourceName = sourceName;
    this.#reader = reader;
    this.#first = first;
    this.#offsetBytes = offsetBytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<DataChunk, void, void> {
    try {
      let bytes: Uint8Array | null = this.#first;
      this.#first = new Uint8Array(0);
      for (; bytes !== null; bytes = await readChunk(this.#reader, this.sourceName)) {
        if (bytes.length === 0) continue;
        yield { fileOffsetBytes: this.#offsetBytes, bytes };
        this.#offsetBytes += bytes.length;
      }
    } finally {
      await this.cancel();
    }
  }

  /** Ends the stream; needed only where it is not iterated. */
  async cancel(): Promise<void> {
    await this.#reader.cancel();
  }
}

/** @throws ModelError `corrupt`, `unsupported_type` or `unreadable` */
export async function readGguf(source: ByteSource): Promise<GgufFile> {
  const stream = await source.open();
  const reader = chunkReader(stream);
  // Some sources know their size only once they are open.
  const state = new HeaderState(source.name, source.sizeBytes);
  try {
    const header = await driveParser(state, reader);
    const { cursor } = state;
    const offsetBytes = cursor.offsetBytes;
    return { header, data: new GgufData(source.name, reader, cursor.bytes(cursor.remaining), offsetBytes) };
  } catch (error) {
    await reader.cancel();
    throw error;
  }
}

/** The header alone: for a check before a model is loaded or copied. @throws as `readGguf` */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  const { header, data } = await readGguf(source);
  await data.cancel();
  return header;
}

async function driveParser(state: HeaderState, reader: ChunkReader): Promise<GgufHeader> {
  const parser = parseHeader(state);
  const { cursor } = state;
  for (;;) {
    const step = parser.next();
    if (step.done) return step.value;
    // Chunks are gathered before they are joined, so that a long item is copied once.
    const neededBytes = step.value;
    const parts: Uint8Array[] = [];
    let numBytes = cursor.remaining;
    while (numBytes < neededBytes) {
      const chunk = await readChunk(reader, state.sourceName);
      if (chunk === null) throw endedInHeader(state, numBytes, neededBytes);
      parts.push(chunk);
      numBytes += chunk.length;
    }
    cursor.push(parts.length === 1 ? parts[0]! : concat(parts));
  }
}

function endedInHeader(state: HeaderState, numBytes: number, neededBytes: number): ModelError {
  const { offsetBytes } = state.cursor;
  return new ModelError(
    "corrupt",
    `${state.sourceName} is truncated: it ends after ${offsetBytes + numBytes} bytes, in ${state.reading} ` +
      `(${neededBytes - numBytes} more bytes are needed). Download it again.`,
  );
}

async function readChunk(reader: ChunkReader, sourceName: string): Promise<Uint8Array | null> {
  try {
    return await reader.read();
  } catch (cause) {
    if (cause instanceof ModelError) throw cause;
    throw new ModelError("unreadable", `${sourceName} could not be read to its end: ${String(cause)}. Try again.`, {
      cause,
    });
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export interface TensorPiece {
  tensor: GgufTensorInfo;
  /** Of bytes[0] within the tensor. Pieces of a tensor come in order and add up to its `sizeBytes`. */
  offsetBytes: number;
  /** Not aligned to blocks or rows: a piece ends where the source's chunk did. */
  bytes: Uint8Array;
}

/** The bytes of every tensor, in file order, without the padding between. @throws ModelError where the file ends early */
export async function* tensorPieces(header: GgufHeader, data: GgufData): AsyncGenerator<TensorPiece, void, void> {
  const tensors = inFileOrder(header.tensors);
  let index = 0;
  let endBytes = 0;
  for await (const { fileOffsetBytes, bytes } of data) {
    endBytes = fileOffsetBytes + bytes.length;
    for (; index < tensors.length; index++) {
      const tensor = tensors[index]!;
      const startBytes = header.dataOffsetBytes + tensor.offsetBytes;
      const from = Math.max(fileOffsetBytes, startBytes);
      const to = Math.min(endBytes, startBytes + tensor.sizeBytes);
      if (from < to) {
        const piece = bytes.subarray(from - fileOffsetBytes, to - fileOffsetBytes);
        yield { tensor, offsetBytes: from - startBytes, bytes: piece };
      }
      if (startBytes + tensor.sizeBytes > endBytes) break;
    }
    if (index === tensors.length) return;
  }
  const cut = tensors[index];
  if (cut === undefined) return;
  const cutEndBytes = header.dataOffsetBytes + cut.offsetBytes + cut.sizeBytes;
  throw new ModelError(
    "corrupt",
    `${data.sourceName} is truncated: the tensor "${cut.name}" ends at byte ${cutEndBytes}, the file at ` +
      `${Math.max(endBytes, header.dataOffsetBytes)} (download it again).`,
  );
}
