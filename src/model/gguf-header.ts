/**
 * The GGUF header as a resumable parser: a generator that yields how many bytes it needs next and returns the header.
 * The driver (`gguf-reader.ts`) pushes chunks into the cursor until there are that many. So the same code reads a
 * stream of 1-byte chunks and a file in memory, never seeks, and never holds more than the item being read.
 *
 * Format: ggml docs/gguf.md. Magic, u32 version, u64 tensor count, u64 key count, the key/value pairs, the tensor
 * infos, padding to the alignment, the data section.
 */
import { ModelError } from "./errors.ts";
import type { GgufHeader, GgufTensorInfo, GgufValue } from "./gguf.ts";
import { MAX_ALIGNMENT_BYTES, MAX_KEY_BYTES, MAX_KEYS, MAX_TENSORS } from "./gguf-limits.ts";
import { type HeaderState, readName } from "./gguf-state.ts";
import { checkTensorLayout, readTensorInfo } from "./gguf-tensors.ts";
import { readValue } from "./gguf-values.ts";

const MAGIC = 0x46554747; // "GGUF"
const DEFAULT_ALIGNMENT_BYTES = 32;

/** What other files start with, by their first four bytes. */
const FOREIGN_MAGIC: Record<string, string> = {
  vers: "a Git LFS pointer (the model itself was not downloaded)",
  "PK\u0003\u0004": "a zip archive (a PyTorch checkpoint?)",
  tjgg: "a GGML file from before GGUF; convert it to GGUF",
  lmgg: "a GGML file from before GGUF; convert it to GGUF",
  fmgg: "a GGML file from before GGUF; convert it to GGUF",
};

export function* parseHeader(state: HeaderState): Generator<number, GgufHeader, void> {
  const version = yield* readPreamble(state);
  const { cursor } = state;
  state.reading = "the tensor count";
  if (cursor.remaining < 16) yield 16;
  const numTensors = cursor.u64();
  if (numTensors > MAX_TENSORS) throw state.corrupt(`is ${numTensors}; the limit is ${MAX_TENSORS}`);
  state.reading = "the key count";
  const numKeys = cursor.u64();
  if (numKeys > MAX_KEYS) throw state.corrupt(`is ${numKeys}; the limit is ${MAX_KEYS}`);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < numKeys; i++) {
    state.reading = `the name of key ${i + 1} of ${numKeys}`;
    const key = yield* readName(state, MAX_KEY_BYTES);
    state.reading = `the key "${key}"`;
    if (metadata.has(key)) throw state.corrupt("occurs twice");
    metadata.set(key, yield* readValue(state));
  }
  const alignmentBytes = readAlignment(state, metadata);

  const tensors: GgufTensorInfo[] = [];
  const names = new Set<string>();
  for (let i = 0; i < numTensors; i++) {
    const tensor = yield* readTensorInfo(state, i, numTensors, alignmentBytes);
    if (names.has(tensor.name)) throw state.corrupt("occurs twice");
    names.add(tensor.name);
    tensors.push(tensor);
  }
  const dataOffsetBytes = Math.ceil(cursor.offsetBytes / alignmentBytes) * alignmentBytes;
  const header: GgufHeader = { version, metadata, tensors, alignmentBytes, dataOffsetBytes };
  checkTensorLayout(header, state.sourceName, state.fileSizeBytes);
  return header;
}

/** Magic and version. */
function* readPreamble(state: HeaderState): Generator<number, number, void> {
  const { cursor } = state;
  if (cursor.remaining < 8) yield 8;
  const magic = cursor.u32();
  if (magic !== MAGIC) throw notGguf(state.sourceName, magic);
  const version = cursor.u32();
  if (version === 2 || version === 3) return version;
  state.reading = "the version";
  // 1, 2 or 3 in the other byte order.
  if (version !== 0 && version % 2 ** 24 === 0) {
    throw new ModelError(
      "corrupt",
      `${state.sourceName} is a big-endian GGUF file; only little-endian ones are read. Convert it with gguf_convert_endian.py.`,
    );
  }
  throw new ModelError(
    "corrupt",
    `${state.sourceName} has GGUF version ${version}; versions 2 and 3 are read. ` +
      (version === 1 ? "Convert the model again with a current llama.cpp." : "A newer runnel may read it."),
  );
}

function notGguf(sourceName: string, magic: number): ModelError {
  const first = String.fromCharCode(magic & 255, (magic >> 8) & 255, (magic >> 16) & 255, (magic >>> 24) & 255);
  const looksLike = first.startsWith("<") ? "a web page (a login or error page?)" : FOREIGN_MAGIC[first];
  return new ModelError(
    "corrupt",
    `${sourceName} is not a GGUF file: it starts with ${JSON.stringify(first)} instead of "GGUF"` +
      `${looksLike === undefined ? "" : `, like ${looksLike}`}.`,
  );
}

function readAlignment(state: HeaderState, metadata: Map<string, GgufValue>): number {
  const value = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT_BYTES;
  const isPowerOfTwo = typeof value === "number" && value >= 1 && (value & (value - 1)) === 0;
  if (!isPowerOfTwo || value > MAX_ALIGNMENT_BYTES) {
    state.reading = `the key "general.alignment"`;
    throw state.corrupt(`is ${String(value)}; it must be a power of two up to ${MAX_ALIGNMENT_BYTES}`);
  }
  return value;
}
