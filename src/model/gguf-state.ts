/**
 * What the parts of the header parser share: the cursor, where the parser is (for messages), and the refusal of lengths
 * before they are believed.
 */
import { ModelError } from "./errors.ts";
import { Cursor } from "./gguf-cursor.ts";
import { MAX_HEADER_BYTES } from "./gguf-limits.ts";

export class HeaderState {
  readonly cursor = new Cursor();
  readonly sourceName: string;
  /** null where the source does not say. */
  readonly fileSizeBytes: number | null;
  /** The item being read, for messages: `the value of "llama.block_count"`. */
  reading = "the magic";
  /** Strings, booleans and nested arrays so far. */
  numObjects = 0;

  constructor(sourceName: string, fileSizeBytes: number | null) {
    this.sourceName = sourceName;
    this.fileSizeBytes = fileSizeBytes;
  }

  /** The error of a malformed item: `demo.gguf: the value of "x" <what>.` */
  corrupt(what: string): ModelError {
    return new ModelError("corrupt", `${this.sourceName}: ${this.reading} ${what}. The file is damaged or not GGUF.`);
  }

  /** Refuses a length in bytes that passes its limit, the header's, or the end of the file, before it is believed. */
  checkLength(what: string, numBytes: number, limitBytes: number): void {
    if (numBytes > limitBytes) {
      throw this.corrupt(`claims ${numBytes} bytes as ${what}; the limit is ${limitBytes}`);
    }
    const end = this.cursor.offsetBytes + numBytes;
    if (end > MAX_HEADER_BYTES) {
      throw this.corrupt(`ends ${end} bytes into the file; the limit of a header is ${MAX_HEADER_BYTES} bytes`);
    }
    if (this.fileSizeBytes !== null && end > this.fileSizeBytes) throw this.truncated(end);
  }

  truncated(neededBytes: number): ModelError {
    return new ModelError(
      "corrupt",
      `${this.sourceName} is truncated: ${this.reading} needs the first ${neededBytes} bytes of the file, ` +
        `which has ${this.fileSizeBytes ?? this.cursor.offsetBytes + this.cursor.remaining}. Download it again.`,
    );
  }
}

/** A key or tensor name: short, valid UTF-8, not empty. */
export function* readName(state: HeaderState, limitBytes: number): Generator<number, string, void> {
  const { cursor } = state;
  if (cursor.remaining < 8) yield 8;
  const numBytes = cursor.u64();
  if (numBytes === 0) throw state.corrupt("is empty");
  state.checkLength("its length", numBytes, limitBytes);
  if (cursor.remaining < numBytes) yield numBytes;
  const name = cursor.strictString(numBytes);
  if (name === null) throw state.corrupt("is not UTF-8");
  return name;
}
