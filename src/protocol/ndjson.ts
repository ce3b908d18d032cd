/**
 * Newline-delimited JSON: one value, one line. Carries `GenerateEvent`s over the byte streams between Durable Objects
 * and the Worker. Bytes may arrive cut or joined anywhere, also inside a UTF-8 character.
 */

const LINE_FEED = 0x0a;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** One line for each value. JSON text holds no raw line break. */
export function encodeNdjson(values: readonly object[]): Uint8Array {
  return encoder.encode(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
}

/** Both ends of the border are ours, so `T` is promised by the writer and not checked. */
export class NdjsonDecoder<T> {
  /** Bytes of the line that has not ended yet, as they came: joined only once, so a long line costs linear time. */
  #pieces: Uint8Array[] = [];

  /** Takes the next bytes and gives the values whose lines they complete. Keeps no reference to `bytes`. */
  push(bytes: Uint8Array): T[] {
    const values: T[] = [];
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      this.#pieces.push(bytes.subarray(start, end));
      values.push(JSON.parse(decoder.decode(joined(this.#pieces))) as T);
      this.#pieces = [];
      start = end + 1;
    }
    if (start < bytes.length) this.#pieces.push(bytes.slice(start));
    return values;
  }

  /** Throws where the bytes ended within a line: something was lost. */
  end(): void {
    if (this.#pieces.length === 0) return;
    throw new Error(`The stream ended within a line, ${sizeOf(this.#pieces)} bytes after the line's start.`);
  }
}

function joined(pieces: Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const bytes = new Uint8Array(sizeOf(pieces));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return bytes;
}

function sizeOf(pieces: Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}
