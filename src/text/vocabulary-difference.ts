/** Whether two models mean the same by every token id: one can guess for the other only then. */
import type { Tokenizer } from "./tokenizer.ts";

/** @returns what differs first, in words; null where nothing does */
export function vocabularyDifference(wanted: Tokenizer, other: Tokenizer): string | null {
  if (wanted.vocabSize !== other.vocabSize) return `it has ${other.vocabSize} tokens, not ${wanted.vocabSize}`;
  for (let id = 0; id < wanted.vocabSize; id++) {
    const [ours, theirs] = [nameOf(wanted, id), nameOf(other, id)];
    if (ours !== theirs) return `its token ${id} is ${JSON.stringify(theirs)}, not ${JSON.stringify(ours)}`;
  }
  return null;
}

/** Bytes are told apart as bytes: a token may be a part of a character. */
function nameOf(tokenizer: Tokenizer, id: number): string {
  if (tokenizer.isControl(id)) return tokenizer.decode([id], { keepControl: true });
  return Array.from(tokenizer.tokenBytes(id), (byte) => String.fromCharCode(byte)).join("");
}
