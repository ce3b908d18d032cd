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
    const end = bytes.lastIndexOf(LINE_FEED);
    let values: T[] = [];
    if (end >= 0) {
      this.#pieces.push(bytes.subarray(0, end));
      // Whole lines, decoded together: a call for each of many short ones costs more than their bytes.
      const lines = decoder.decode(joined(this.#pieces)).split("\n");
      values = lines.map((line) => JSON.parse(line) as T);
      this.#pieces = [];
    }
    if (end + 1 < bytes.length) this.#pieces.push(bytes.slice(end + 1));
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
