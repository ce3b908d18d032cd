/**
 * A KV block as a row of storage, and back. A row carries the token ids it was computed from and a checksum over all of
 * it and the fingerprint of the engine that computed it; whatever differs makes it worthless, and it is computed again.
 *
 * The checksum finds damage, not malice: who can write this storage owns the conversation. So it need not be a
 * cryptographic one, and it must not be asynchronous: a row is read between two steps, where nothing may be awaited,
 * which rules out `crypto.subtle`. Four independent lanes take the 32-bit words in turn, as xxHash32 does, each with one
 * multiplication: lane ← (rotl(lane, 13) xor word) · P. For an odd P that is a bijection of the word, so damage within
 * one word is always found; the lanes are kept whole, 128 bits, so that nothing else is missed by chance.
 */

/** The first two of xxHash32's primes. */
const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;

/** What a row holds beside its index and its hash. */
export interface KvRow {
  /** i32 ids. */
  tokens: ArrayBuffer;
  /** As the backend lays a block out; whole 32-bit words. */
  bytes: ArrayBuffer;
  /** 32 hex digits. */
  checksum: string;
}

/** What the bytes of a block depend on besides its tokens. */
export interface KvLayout {
  /** Names the model file by its digest. */
  modelKey: string;
  abiVersion: number;
  /** Kernel sets may differ in the last bits, and a restored prefix must give what computing it gives. */
  engineName: string;
  kvPrecision: string;
  blockTokens: number;
  numLayers: number;
  numKvHeads: number;
  headDim: number;
}

export function kvFingerprint(layout: KvLayout): string {
  const { modelKey, abiVersion, engineName, kvPrecision, blockTokens, numLayers, numKvHeads, headDim } = layout;
  const shape = `${blockTokens} tokens x ${numLayers} layers x ${numKvHeads} heads x ${headDim}`;
  return `${modelKey}; ${engineName}, ABI ${abiVersion}; ${kvPrecision}, ${shape}`;
}

/** Where a row belongs: under which engine, and behind which tokens. */
export interface KvPlace {
  fingerprint: string;
  index: number;
  /** Of its tokens and all before them. */
  hash: string;
}

export function sealRow(place: KvPlace, tokens: Int32Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer>): KvRow {
  if (bytes.length % 4 !== 0) throw new Error(`A KV block of ${bytes.length} bytes is no whole number of words.`);
  const row = { tokens: tokens.slice().buffer, bytes: exactBuffer(bytes) };
  return { ...row, checksum: checksumOf(place, row) };
}

/** @returns the block's bytes; null for a row that is damaged, of another place, or of other tokens */
export function openRow(place: KvPlace, tokens: Int32Array, row: KvRow): Uint8Array<ArrayBuffer> | null {
  if (row.tokens.byteLength !== tokens.byteLength || row.bytes.byteLength % 4 !== 0) return null;
  const kept = new Int32Array(row.tokens);
  if (!kept.every((id, i) => id === tokens[i])) return null;
  return row.checksum === checksumOf(place, row) ? new Uint8Array(row.bytes) : null;
}

function checksumOf({ fingerprint, index, hash }: KvPlace, { tokens, bytes }: Omit<KvRow, "checksum">): string {
  const lanes = Int32Array.of(PRIME_1, PRIME_2, 0, -PRIME_1);
  fold(lanes, codesOf(`${fingerprint}\n${index}\n${hash}`));
  fold(lanes, new Uint32Array(tokens));
  fold(lanes, new Uint32Array(bytes));
  return Array.from(new Uint32Array(lanes.buffer), (lane) => lane.toString(16).padStart(8, "0")).join("");
}

function codesOf(text: string): Uint32Array {
  const codes = new Uint32Array(text.length);
  for (let i = 0; i < text.length; i++) codes[i] = text.charCodeAt(i);
  return codes;
}

/** Folds the words and their number into the lanes. Written out, because a restart runs it before it is optimized. */
function fold(lanes: Int32Array, words: Uint32Array): void {
  let [a = 0, b = 0, c = 0, d = 0] = lanes;
  const numWhole = words.length - (words.length % 4);
  for (let i = 0; i < numWhole; i += 4) {
    a = Math.imul(((a << 13) | (a >>> 19)) ^ words[i]!, PRIME_1);
    b = Math.imul(((b << 13) | (b >>> 19)) ^ words[i + 1]!, PRIME_1);
    c = Math.imul(((c << 13) | (c >>> 19)) ^ words[i + 2]!, PRIME_1);
    d = Math.imul(((d << 13) | (d >>> 19)) ^ words[i + 3]!, PRIME_1);
  }
  for (let i = numWhole; i < words.length; i++) a = Math.imul(((a << 13) | (a >>> 19)) ^ words[i]!, PRIME_1);
  lanes.set([a, b, c, Math.imul(d ^ words.length, PRIME_1)]);
}

/** SQLite takes a buffer whole. */
function exactBuffer(bytes: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
}
