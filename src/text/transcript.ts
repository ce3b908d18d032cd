/**
 * What a conversation was up to now, as text and as the ids it was computed with. The next prompt usually begins with
 * that text; taking its ids as they are keeps the cached prefix valid to the last token, because tokenizing generated
 * text anew may cut it differently.
 */
import type { Tokenizer } from "./tokenizer.ts";

/** `tokens` are ids whose text, placed in this conversation, is exactly `text`. */
export interface Transcript {
  text: string;
  tokens: number[];
}

/**
 * A prompt and what was generated after it. Only tokens whose text is part of `visibleText`, what the client was given,
 * count: an end token, a stop string and anything after it are left out, so that the next prompt can match.
 */
export function transcriptAfter(
  tokenizer: Tokenizer,
  prompt: Transcript,
  outputIds: ArrayLike<number>,
  visibleText: string,
): Transcript {
  const detokenizer = tokenizer.detokenizer();
  let text = "";
  let numKept = 0;
  let kept = "";
  for (let i = 0; i < outputIds.length; i++) {
    if (tokenizer.isControl(outputIds[i]!)) break;
    const piece = detokenizer.push(outputIds[i]!);
    text += piece;
    if (!visibleText.startsWith(text)) break;
    // A token that ends inside a character has no text of its own yet; it counts with the one that completes it.
    if (piece === "") continue;
    kept = text;
    numKept = i + 1;
  }
  return {
    text: prompt.text + kept,
    tokens: [...prompt.tokens, ...Array.from({ length: numKept }, (_, i) => outputIds[i]!)],
  };
}
