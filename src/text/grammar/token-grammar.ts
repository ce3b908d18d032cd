/**
 * A grammar over tokens: which of them may come next, so that the whole text matches. What compiles to one and how is
 * behind this border; whoever samples knows masks and tokens only.
 */
export interface TokenGrammar {
  /** Before the first token of a text. */
  begin(): GrammarCursor;
}

/** A place within one text. Independent of every other cursor. */
export interface GrammarCursor {
  /**
   * Bit t & 31 of word t >> 5 is set where token t may come next: ceil(vocabulary / 32) words. Where the text is whole,
   * the end-of-generation tokens are among them. At least one bit is set. Shared: not to be written, and valid for ever.
   */
  mask(): Uint32Array;
  /** Goes on behind `token`. @returns false, and changes nothing, where the mask does not have it */
  accept(token: number): boolean;
  /** The text that was accepted is whole: it may end here. */
  readonly isComplete: boolean;
  /** A cursor of its own at the same place. */
  clone(): GrammarCursor;
}
