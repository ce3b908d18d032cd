/** Draws texts from a grammar as a model without any idea would: every allowed token is as likely. */
import type { TokenGrammar } from "../../../../src/text/grammar/token-grammar.ts";
import { type TestVocabulary, tokensIn } from "./vocabulary.ts";

export interface Sample {
  text: string;
  isComplete: boolean;
}

/**
 * @param options.numTokensMax where to give up
 * @param options.endsFrom from this token on the one is taken that brings the text nearest to its end
 */
export function sample(
  grammar: TokenGrammar,
  vocabulary: TestVocabulary,
  uniform: () => number,
  options: { numTokensMax: number; endsFrom: number },
): Sample {
  const cursor = grammar.begin();
  const bytes: number[] = [];
  for (let i = 0; i < options.numTokensMax; i++) {
    const ids = tokensIn(cursor.mask(), vocabulary.vocabSize);
    if (ids.length === 0) throw new Error(`No token may follow ${textOf(bytes)}`);
    const wantsEnd = i >= options.endsFrom;
    const id = cursor.isComplete && (wantsEnd || uniform() < 0.2) ? vocabulary.endId : draw(ids, uniform, wantsEnd);
    if (!cursor.accept(id)) throw new Error(`Token ${id} is in the mask and was refused behind ${textOf(bytes)}`);
    if (id === vocabulary.endId) return { text: textOf(bytes), isComplete: true };
    bytes.push(...vocabulary.tokenBytes(id));
  }
  return { text: textOf(bytes), isComplete: cursor.isComplete };
}

/** What closes strings, lists and objects, most of the time. */
const CLOSERS = Array.from('"}]', (character) => character.charCodeAt(0));

function draw(ids: readonly number[], uniform: () => number, wantsEnd: boolean): number {
  const closers = wantsEnd && uniform() < 0.8 ? CLOSERS.filter((id) => ids.includes(id)) : [];
  const from = closers.length > 0 ? closers : ids;
  return from[Math.floor(uniform() * from.length)]!;
}

function textOf(bytes: readonly number[]): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
