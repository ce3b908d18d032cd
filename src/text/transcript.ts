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
  let kept = "";
  let numKept = 0;
  let tail = new Uint8Array(0);
  for (let i = 0; i < outputIds.length; i++) {
    const id = outputIds[i]!;
    if (tokenizer.isControl(id)) break;
    text += detokenizer.push(id);
    if (!visibleText.startsWith(text)) break;
    tail = lastBytes(tail, tokenizer.tokenBytes(id));
    // The rest of the character, and with it what it prints, comes with a later token.
    if (mayEndInsideCharacter(tail)) continue;
    kept = text;
    numKept = i + 1;
  }
  return {
    text: prompt.text + kept,
    tokens: [...prompt.tokens, ...Array.from({ length: numKept }, (_, i) => outputIds[i]!)],
  };
}

/** A UTF-8 character that is not over shows in at most its first three bytes. */
function lastBytes(before: Uint8Array, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([...before, ...bytes.subarray(-3)]).slice(-3);
}

/** Also true for some bytes that are no character at all; then a token less is kept, which costs only its reuse. */
function mayEndInsideCharacter(tail: Uint8Array): boolean {
  const lead = tail.findLastIndex((byte) => byte >= 0xc0);
  const length = lead < 0 ? 0 : tail[lead]! >= 0xf0 ? 4 : tail[lead]! >= 0xe0 ? 3 : 2;
  return tail.length - lead < length && tail.subarray(lead + 1).every((byte) => byte >= 0x80);
}
