import type { TemplateDialect } from "./template-dialect.ts";

/**
 * Text ↔ token ids, whatever file the vocabulary came from. Implementations are built by `fromTokenizerJson` and
 * `fromGguf`; `test/contract/tokenizer.contract.ts` runs on both.
 */
export interface Tokenizer {
  /** Ids are 0 … vocabSize − 1. */
  readonly vocabSize: number;
  readonly bosId: number | null;
  /** Tokens after which a model has nothing more to say (eos, eot, eom). */
  readonly endOfGenerationIds: ReadonlySet<number>;
  /**
   * @param options.addSpecialTokens add BOS/EOS where the model's own settings want them
   * @param options.parseSpecial read control tokens such as `<|im_end|>` in the text as tokens. Only for text that
   *   the server made (a rendered chat template, minus user content where a template allows it) or a raw completion prompt.
   * @param options.continues the text goes on from earlier text: no space prefix at its start
   */
  encode(text: string, options: { addSpecialTokens: boolean; parseSpecial: boolean; continues?: boolean }): number[];
  /** The exact bytes a token stands for; empty for control tokens (and for unknown ids). */
  tokenBytes(id: number): Uint8Array;
  isControl(id: number): boolean;
  /**
   * A fresh incremental decoder.
   * @param options.keepControl spell control tokens out: all of them, or these
   */
  detokenizer(options?: { keepControl?: boolean | ReadonlySet<number> }): Detokenizer;
  /** Whole text of `ids`: equal to pushing each through a `detokenizer()` and flushing. */
  decode(ids: ArrayLike<number>, options?: { keepControl?: boolean }): string;
}

/** Tokens in, text out; what is returned is always whole characters, and the pieces add up to `decode()`. */
export interface Detokenizer {
  /** Text that became certain with this token; "" while a UTF-8 character is incomplete. */
  push(id: number): string;
  /** The rest; U+FFFD for bytes that never became a character. */
  flush(): string;
}

/** A model's chat format. Throws `ApiError` (400) with the template's own message when it refuses the conversation. */
export interface ChatTemplate {
  readonly dialect: TemplateDialect;
  /** @param options.variables further ones, such as `tools` or `enable_thinking` */
  render(
    messages: readonly object[],
    options: { addGenerationPrompt: boolean; variables?: Record<string, unknown> },
  ): string;
}
