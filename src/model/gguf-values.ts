/**
 * Metadata values of a GGUF header: scalars, strings, arrays. Generators that yield the number of bytes they need
 * before going on (see `gguf-header.ts`), so that one parser serves any chunking of the stream.
 */
import type { GgufArray, GgufScalar, GgufValue } from "./gguf.ts";
import { MAX_ARRAY_DEPTH, MAX_ARRAY_LENGTH, MAX_HEADER_BYTES, MAX_OBJECTS, MAX_STRING_BYTES } from "./gguf-limits.ts";
import type { HeaderState } from "./gguf-state.ts";

/** Ids of gguf_metadata_value_type. */
const TYPE_BOOL = 7;
const TYPE_STRING = 8;
const TYPE_ARRAY = 9;

interface NumberType {
  sizeBytes: number;
  read: (view: DataView, at: number) => GgufScalar;
  array: new (buffer: ArrayBuffer) => Exclude<GgufArray, string[] | boolean[] | GgufValue[]>;
}

function safeInteger(value: bigint): number | bigint {
  const asNumber = Number(value);
  return Number.isSafeInteger(asNumber) ? asNumber : value;
}

const NUMBER_TYPES: Record<number, NumberType> = {
  0: { sizeBytes: 1, read: (v, at) => v.getUint8(at), array: Uint8Array },
  1: { sizeBytes: 1, read: (v, at) => v.getInt8(at), array: Int8Array },
  2: { sizeBytes: 2, read: (v, at) => v.getUint16(at, true), array: Uint16Array },
  3: { sizeBytes: 2, read: (v, at) => v.getInt16(at, true), array: Int16Array },
  4: { sizeBytes: 4, read: (v, at) => v.getUint32(at, true), array: Uint32Array },
  5: { sizeBytes: 4, read: (v, at) => v.getInt32(at, true), array: Int32Array },
  6: { sizeBytes: 4, read: (v, at) => v.getFloat32(at, true), array: Float32Array },
  10: { sizeBytes: 8, read: (v, at) => safeInteger(v.getBigUint64(at, true)), array: BigUint64Array },
  11: { sizeBytes: 8, read: (v, at) => safeInteger(v.getBigInt64(at, true)), array: BigInt64Array },
  12: { sizeBytes: 8, read: (v, at) => v.getFloat64(at, true), array: Float64Array },
};

/** A value of any type, its type id first. */
export function* readValue(state: HeaderState): Generator<number, GgufValue, void> {
  const { cursor } = state;
  if (cursor.remaining < 4) yield 4;
  const type = cursor.u32();
  return type === TYPE_ARRAY ? yield* readArray(state, 1) : yield* readScalar(state, type);
}

/** A string: u64 length, then the bytes. Invalid UTF-8 becomes U+FFFD, as vocabularies with byte tokens hold it. */
export function* readString(state: HeaderState): Generator<number, string, void> {
  const { cursor } = state;
  if (cursor.remaining < 8) yield 8;
  const numBytes = cursor.u64();
  state.checkLength("the length of a string", numBytes, MAX_STRING_BYTES);
  if (cursor.remaining < numBytes) yield numBytes;
  return cursor.string(numBytes);
}

function* readScalar(state: HeaderState, type: number): Generator<number, GgufScalar, void> {
  if (type === TYPE_STRING) return yield* readString(state);
  const { cursor } = state;
  if (type === TYPE_BOOL) {
    if (cursor.remaining < 1) yield 1;
    return readBool(state);
  }
  const number = NUMBER_TYPES[type];
  if (number === undefined) throw state.corrupt(`has value type ${type}; types are 0 to 12`);
  if (cursor.remaining < number.sizeBytes) yield number.sizeBytes;
  return cursor.number(number.sizeBytes, number.read);
}

function readBool(state: HeaderState): boolean {
  const byte = state.cursor.u8();
  if (byte > 1) throw state.corrupt(`has the boolean ${byte}; booleans are 0 or 1`);
  return byte === 1;
}

function* readArray(state: HeaderState, depth: number): Generator<number, GgufArray, void> {
  const { cursor } = state;
  if (depth > MAX_ARRAY_DEPTH) throw state.corrupt(`nests arrays deeper than ${MAX_ARRAY_DEPTH}`);
  if (cursor.remaining < 12) yield 12;
  const type = cursor.u32();
  const length = cursor.u64();
  if (length > MAX_ARRAY_LENGTH) {
    throw state.corrupt(`is an array of ${length} elements; the limit is ${MAX_ARRAY_LENGTH}`);
  }
  const number = NUMBER_TYPES[type];
  if (number !== undefined) return yield* readNumbers(state, number, length);

  state.numObjects += length;
  if (state.numObjects > MAX_OBJECTS) {
    throw state.corrupt(
      `brings the strings and booleans of the header to ${state.numObjects}; the limit is ${MAX_OBJECTS}`,
    );
  }
  if (type === TYPE_STRING) return yield* readStrings(state, length);
  if (type === TYPE_BOOL) return yield* readBools(state, length);
  if (type === TYPE_ARRAY) return yield* readArrays(state, length, depth);
  throw state.corrupt(`is an array of value type ${type}; types are 0 to 12`);
}

function* readNumbers(state: HeaderState, type: NumberType, length: number): Generator<number, GgufArray, void> {
  const { cursor } = state;
  const numBytes = length * type.sizeBytes;
  state.checkLength("the size of an array", numBytes, MAX_HEADER_BYTES);
  const bytes = new Uint8Array(numBytes);
  for (let filled = 0; filled < numBytes; ) {
    if (cursor.remaining === 0) yield 1;
    const part = cursor.bytes(Math.min(cursor.remaining, numBytes - filled));
    bytes.set(part, filled);
    filled += part.length;
  }
  return new type.array(bytes.buffer);
}

function* readBools(state: HeaderState, length: number): Generator<number, boolean[], void> {
  state.checkLength("the size of an array", length, MAX_HEADER_BYTES);
  const out: boolean[] = [];
  for (let i = 0; i < length; i++) {
    if (state.cursor.remaining < 1) yield 1;
    out.push(readBool(state));
  }
  return out;
}

/** Vocabularies are 50,000 to 260,000 short strings: the loop of `readString`, without a generator for each. */
function* readStrings(state: HeaderState, length: number): Generator<number, string[], void> {
  const { cursor } = state;
  state.checkLength("the size of an array", length * 8, MAX_HEADER_BYTES);
  const out: string[] = [];
  for (let i = 0; i < length; i++) {
    if (cursor.remaining < 8) yield 8;
    const numBytes = cursor.u64();
    state.checkLength("the length of a string", numBytes, MAX_STRING_BYTES);
    if (cursor.remaining < numBytes) yield numBytes;
    out.push(cursor.string(numBytes));
  }
  return out;
}

function* readArrays(state: HeaderState, length: number, depth: number): Generator<number, GgufArray[], void> {
  state.checkLength("the size of an array", length * 12, MAX_HEADER_BYTES);
  const out: GgufArray[] = [];
  for (let i = 0; i < length; i++) out.push(yield* readArray(state, depth + 1));
  return out;
}
