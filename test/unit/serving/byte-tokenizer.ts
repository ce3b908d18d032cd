/** A tokenizer small enough to see through: ids 0 … 3 are control tokens, the others stand for the bytes given. */
import type { Detokenizer, Tokenizer } from "../../../src/text/tokenizer.ts";

export const CONTROL_TEXTS = ["<end>", "<bos>", "<user>", "<bot>"] as const;
export const END_ID = 0;

const encoder = new TextEncoder();

export class ByteTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId = 1;
  readonly endOfGenerationIds = new Set([END_ID]);
  readonly #pieces: readonly Uint8Array[];

  /** @param pieces texts or bytes of ids 4, 5, …; longer ones are preferred by `encode` */
  constructor(pieces: readonly (string | number[])[]) {
    this.#pieces = pieces.map((piece) => (typeof piece === "string" ? encoder.encode(piece) : Uint8Array.from(piece)));
    this.vocabSize = CONTROL_TEXTS.length + pieces.length;
  }

  encode(text: string, options: { addSpecialTokens: boolean; parseSpecial: boolean }): number[] {
    const ids: number[] = options.addSpecialTokens ? [this.bosId] : [];
    for (let at = 0; at < text.length; ) {
      const control = options.parseSpecial ? CONTROL_TEXTS.findIndex((name) => text.startsWith(name, at)) : -1;
      if (control >= 0) {
        ids.push(control);
        at += CONTROL_TEXTS[control]!.length;
        continue;
      }
      const rest = encoder.encode(text.slice(at));
      const fits = (piece: Uint8Array) => piece.every((byte, i) => rest[i] === byte);
      const best = this.#pieces.reduce(
        (found, piece, i) => (fits(piece) && piece.length > (this.#pieces[found]?.length ?? 0) ? i : found),
        -1,
      );
      if (best < 0) throw new Error(`No token for '${text.slice(at)}'.`);
      ids.push(best + CONTROL_TEXTS.length);
      at += new TextDecoder().decode(this.#pieces[best]).length;
    }
    return ids;
  }

  tokenBytes(id: number): Uint8Array {
    return this.#pieces[id - CONTROL_TEXTS.length] ?? new Uint8Array();
  }

  isControl(id: number): boolean {
    return id < CONTROL_TEXTS.length;
  }

  detokenizer({ keepControl = false }: { keepControl?: boolean | ReadonlySet<number> } = {}): Detokenizer {
    const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
    return {
      push: (id) => {
        const isKept = typeof keepControl === "boolean" ? keepControl : keepControl.has(id);
        const name = isKept ? CONTROL_TEXTS[id] : undefined;
        return decoder.decode(name === undefined ? this.tokenBytes(id) : encoder.encode(name), { stream: true });
      },
      flush: () => decoder.decode(),
    };
  }

  decode(ids: ArrayLike<number>, options: { keepControl?: boolean } = {}): string {
    const detokenizer = this.detokenizer(options);
    return Array.from(ids, (id) => detokenizer.push(id)).join("") + detokenizer.flush();
  }
}
