/**
 * Token ids → text, one at a time. The bytes of all tokens go through one WHATWG UTF-8 decoder, so a character that
 * spans tokens comes out whole with its last byte, bytes that never become a character come out as U+FFFD, and the
 * pieces add up to the decoding of all bytes at once, wherever the cuts fall.
 *
 * Leading space: generated text goes on from a prompt, so nothing is taken off (llama.cpp's `token_to_piece` with
 * lstrip 0). Only right after a BOS that is the very first token does the next piece lose one space, because
 * `encode()` put it there; `keepControl` keeps that space too, as llama.cpp does when it prints `<s>`.
 */
import type { Detokenizer } from "./tokenizer.ts";

export interface PieceSource {
  /** Bytes to print for a token. */
  pieceBytes(id: number): Uint8Array;
  /** A first token after which encode() adds a space, or null. */
  prefixedAfterId: number | null;
}

const SPACE = 0x20;

export class Utf8Detokenizer implements Detokenizer {
  readonly #source: PieceSource;
  // ignoreBOM: U+FEFF at the start is text, not a mark to drop.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: false });
  #numPushed = 0;
  #dropsSpace = false;

  constructor(source: PieceSource) {
    this.#source = source;
  }

  push(id: number): string {
    const isFirst = this.#numPushed++ === 0;
    if (isFirst && id === this.#source.prefixedAfterId) {
      this.#dropsSpace = true;
      return "";
    }
    let bytes = this.#source.pieceBytes(id);
    if (this.#dropsSpace && bytes.length > 0) {
      this.#dropsSpace = false;
      if (bytes[0] === SPACE) bytes = bytes.subarray(1);
    }
    return bytes.length === 0 ? "" : this.#decoder.decode(bytes, { stream: true });
  }

  flush(): string {
    return this.#decoder.decode();
  }
}
