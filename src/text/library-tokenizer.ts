/**
 * The `Tokenizer` of both builders: special tokens are cut out here, everything between them is the library's.
 * `encode` follows llama.cpp (src/llama-vocab.cpp, `tokenize`) for GGUF and Hugging Face tokenizers for tokenizer.json.
 */
import { ControlTexts } from "./control-texts.ts";
import { Utf8Detokenizer } from "./detokenizer.ts";
import type { EncodeText } from "./library-model.ts";
import { SpecialSplitter, type TextRange } from "./special-splitter.ts";
import { tokenBytes } from "./token-bytes.ts";
import type { Detokenizer, Tokenizer } from "./tokenizer.ts";
import { isStructureKind, type Vocabulary } from "./vocabulary.ts";

export interface EncodeOptions {
  addSpecialTokens: boolean;
  parseSpecial: boolean;
  /** With `parseSpecial`: ascending ranges of the text in which control tokens are spelled, not meant. */
  plain?: readonly TextRange[] | undefined;
  /** The text goes on from earlier text: no space prefix at its start. */
  continues?: boolean;
}

const encoder = new TextEncoder();

export class LibraryTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly endOfGenerationIds: ReadonlySet<number>;
  /** Texts that `parseSpecial` turns into control tokens. */
  readonly controlTexts: ControlTexts;
  readonly #vocabulary: Vocabulary;
  readonly #encodeText: EncodeText;
  readonly #splitter: SpecialSplitter;

  constructor(vocabulary: Vocabulary, encodeText: EncodeText) {
    const structure = vocabulary.special.filter(({ isStructure }) => isStructure);
    this.vocabSize = vocabulary.tokens.length;
    this.bosId = vocabulary.bosId;
    this.eosId = vocabulary.eosId;
    this.endOfGenerationIds = vocabulary.endOfGenerationIds;
    this.controlTexts = new ControlTexts(structure.map(({ text }) => text));
    this.#vocabulary = vocabulary;
    this.#encodeText = encodeText;
    this.#splitter = new SpecialSplitter(vocabulary.special);
  }

  encode(text: string, options: EncodeOptions): number[] {
    const { bosId, eosId, addBos, addEos } = this.#vocabulary;
    const ids: number[] = [];
    if (options.addSpecialTokens && addBos && bosId !== null) ids.push(bosId);
    // A lone surrogate has no UTF-8 form; its replacement is one code unit too, so the offsets of `plain` hold.
    const wellFormed = text.toWellFormed();
    const fragments = this.#splitter.split(wellFormed, { structure: options.parseSpecial, plain: options.plain });
    for (const [i, fragment] of fragments.entries()) {
      if (fragment.kind === "token") ids.push(fragment.id);
      else for (const id of this.#encodeText(this.#prefixed(fragment.text, i === 0, options))) ids.push(id);
    }
    if (options.addSpecialTokens && addEos && eosId !== null) ids.push(eosId);
    return ids;
  }

  /** The token as the file writes it; "" for null and for ids outside the vocabulary. */
  tokenText(id: number | null): string {
    return id === null ? "" : (this.#vocabulary.tokens[id] ?? "");
  }

  tokenBytes(id: number): Uint8Array {
    return tokenBytes(this.#vocabulary, id);
  }

  isControl(id: number): boolean {
    return isStructureKind(this.#vocabulary.kinds[id]);
  }

  detokenizer(options?: { keepControl?: boolean | ReadonlySet<number> }): Detokenizer {
    const keepControl = options?.keepControl ?? false;
    const keeps = (id: number) => (typeof keepControl === "boolean" ? keepControl : keepControl.has(id));
    const isPrefixed = this.#vocabulary.spacePrefix.where !== "never";
    return new Utf8Detokenizer({
      pieceBytes: (id) => {
        const isKept = keeps(id) && this.isControl(id);
        return isKept ? encoder.encode(this.tokenText(id)) : this.tokenBytes(id);
      },
      prefixedAfterId: isPrefixed && keepControl !== true ? this.bosId : null,
    });
  }

  decode(ids: ArrayLike<number>, options?: { keepControl?: boolean }): string {
    const detokenizer = this.detokenizer(options);
    let text = "";
    for (let i = 0; i < ids.length; i++) text += detokenizer.push(ids[i]!);
    return text + detokenizer.flush();
  }

  #prefixed(text: string, isFirst: boolean, options: EncodeOptions): string {
    const { where, unlessPresent } = this.#vocabulary.spacePrefix;
    const wanted = where === "always" || (where === "first" && isFirst);
    if (!wanted || (isFirst && options.continues)) return text;
    return unlessPresent && /^[ \u2581]/.test(text) ? text : ` ${text}`;
  }
}
