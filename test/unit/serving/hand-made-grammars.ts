/** Grammars small enough to see through, and what follows from one by hand. */
import { allows, maskOf } from "../../../src/serving/token-mask.ts";
import type { GrammarCursor, TokenGrammar } from "../../../src/text/grammar/token-grammar.ts";

/** These token sequences and no others, each ended by one of `ends`. */
export function textsGrammar(
  texts: readonly (readonly number[])[],
  ends: readonly number[],
  vocabSize: number,
): TokenGrammar {
  const at = (prefix: readonly number[]): GrammarCursor => {
    let here = prefix;
    const matching = () => texts.filter((text) => here.every((token, i) => text[i] === token));
    const isWhole = () => matching().some(({ length }) => length === here.length);
    const mask = () => {
      const next = matching().flatMap((text) => (text.length > here.length ? [text[here.length]!] : []));
      return maskOf(isWhole() ? [...next, ...ends] : next, vocabSize);
    };
    return {
      mask,
      accept(token) {
        if (!allows(mask(), token)) return false;
        here = [...here, token];
        return true;
      },
      get isComplete() {
        return isWhole();
      },
      clone: () => at(here),
    };
  };
  return { begin: () => at([]) };
}

/** Any number of these tokens, at least one. */
export function anyOfGrammar(tokens: readonly number[], ends: readonly number[], vocabSize: number): TokenGrammar {
  const at = (count: number): GrammarCursor => {
    let here = count;
    const mask = () => maskOf(here > 0 ? [...tokens, ...ends] : tokens, vocabSize);
    return {
      mask,
      accept(token) {
        if (!allows(mask(), token)) return false;
        here++;
        return true;
      },
      get isComplete() {
        return here > 0;
      },
      clone: () => at(here),
    };
  };
  return { begin: () => at(0) };
}
