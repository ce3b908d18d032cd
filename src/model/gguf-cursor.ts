/**
 * A read position over bytes that arrive in chunks. The header parser looks at `remaining` before each read and yields
 * when it is too small, so every read here is synchronous and none can pass the end of what has arrived.
 * Little-endian throughout.
 */
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: false });
const UTF8_STRICT = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

const TWO_TO_32 = 2 ** 32;

export class Cursor {
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  #at = 0;
  #startOffset = 0;

  /** Offset in the file of the next byte. */
  get offsetBytes(): number {
    return this.#startOffset + this.#at;
  }

  /** Bytes that arrived and were not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** Appends a chunk. Keeps a reference to it, or a copy where bytes of the last one are left over. */
  push(chunk: Uint8Array): void {
    const left = this.remaining;
    let bytes = chunk;
    if (left > 0) {
      bytes = new Uint8Array(left + chunk.length);
      bytes.set(this.#bytes.subarray(this.#at));
      bytes.set(chunk, left);
    }
    this.#startOffset += this.#at;
    this.#at = 0;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  /** As a number: exact up to 2^53, rounded above (where every limit has long been passed). */
  u64(): number {
    const at = this.#advance(8);
    return this.#view.getUint32(at + 4, true) * TWO_TO_32 + this.#view.getUint32(at, true);
  }

  /** Reads one number through the view, for the types that occur rarely. */
  number<T>(sizeBytes: number, read: (view: DataView, at: number) => T): T {
    return read(this.#view, this.#advance(sizeBytes));
  }

  /** Invalid UTF-8 becomes U+FFFD. */
  string(numBytes: number): string {
    const at = this.#advance(numBytes);
    return UTF8.decode(this.#bytes.subarray(at, at + numBytes));
  }

  /** null where the bytes are not UTF-8. */
  strictString(numBytes: number): string | null {
    const at = this.#advance(numBytes);
    try {
      return UTF8_STRICT.decode(this.#bytes.subarray(at, at + numBytes));
    } catch {
      return null;
    }
  }

  /** A view, valid until the next `push`. */
  bytes(numBytes: number): Uint8Array {
    const at = this.#advance(numBytes);
    return this.#bytes.subarray(at, at + numBytes);
  }

  #advance(numBytes: number): number {
    const at = this.#at;
    if (at + numBytes > this.#bytes.length) throw new RangeError("read past what arrived: `remaining` was not checked");
    this.#at = at + numBytes;
    return at;
  }
}
