/**
 * What both builders hand to `LibraryTokenizer`: a vocabulary as data, and how text is prepared for it. Everything that
 * differs between GGUF and tokenizer.json ends here.
 */

/** Token types; values are those of GGUF's `tokenizer.ggml.token_type`. */
export const TOKEN_KIND = {
  NORMAL: 1,
  /** The stand-in for text that has no token. Has no bytes. */
  UNKNOWN: 2,
  /** Structure such as `<|im_end|>`: read from text only with `parseSpecial`, and has no bytes. */
  CONTROL: 3,
  /** Always matched in raw text, before anything else. */
  USER_DEFINED: 4,
  /** Padding of the vocabulary: never produced, has no bytes. */
  UNUSED: 5,
  /** `<0xNN>`: one byte of a character that has no token. */
  BYTE: 6,
} as const;

/** A token that is matched in raw text. */
export interface SpecialToken {
  id: number;
  text: string;
  /** Control and unknown tokens: matched only with `parseSpecial`. The others are user-defined. */
  isStructure: boolean;
  /** ASCII white space before or after it is dropped when it is matched. */
  stripsBefore: boolean;
  stripsAfter: boolean;
}

/**
 * SentencePiece puts a space in front of a text, so that its first word looks like any other: in front of the whole
 * text ("first") or of every stretch between special tokens ("always").
 */
export interface SpacePrefix {
  where: "never" | "first" | "always";
  /** Not where the text starts with a space anyway. */
  unlessPresent: boolean;
}

export interface Vocabulary {
  /** By id, as the file writes them (byte-level alphabet, U+2581 for a space). */
  tokens: readonly string[];
  /** A `TOKEN_KIND` by id. */
  kinds: Uint8Array;
  /** How a normal token's text stands for bytes. */
  alphabet: "byte-level" | "sentencepiece";
  special: readonly SpecialToken[];
  spacePrefix: SpacePrefix;
  bosId: number | null;
  eosId: number | null;
  /** BOS and EOS that the model's own settings put around a text. */
  addBos: boolean;
  addEos: boolean;
  endOfGenerationIds: ReadonlySet<number>;
}

/** Ids by token text; the first of two equal texts wins. */
export function idsByText(tokens: readonly string[]): Map<string, number> {
  const ids = new Map<string, number>();
  for (let id = tokens.length - 1; id >= 0; id--) ids.set(tokens[id]!, id);
  return ids;
}

/** Ids that ordinary text may turn into: never a control token, whatever the text spells. */
export function mergeableIds({ tokens, kinds }: Pick<Vocabulary, "tokens" | "kinds">): Map<string, number> {
  const ids = idsByText(tokens);
  for (const [text, id] of ids) {
    const kind = kinds[id];
    if (kind !== TOKEN_KIND.NORMAL && kind !== TOKEN_KIND.BYTE) ids.delete(text);
  }
  return ids;
}

/** The unknown token counts as structure: it stands for no text of its own. */
export function isStructureKind(kind: number | undefined): boolean {
  return kind === TOKEN_KIND.CONTROL || kind === TOKEN_KIND.UNKNOWN;
}
