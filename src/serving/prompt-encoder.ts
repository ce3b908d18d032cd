/**
 * Prompts → token ids, and the ids of a continued conversation from its transcript. Everything that can be wrong with a
 * prompt itself is refused here.
 */
import { invalidRequest } from "../protocol/errors.ts";
import type { ChatMessage, Prompt, Tool } from "../protocol/generate.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Transcript } from "./language-model.ts";

export interface EncodedPrompt {
  tokens: number[];
  /** The text that `tokens` stand for, control tokens spelled out: what a transcript begins with. */
  text: string;
  /** The prompt as its sender wrote it, for `echo`. */
  visibleText: string;
}

/**
 * A rendered conversation as text and ids. With a transcript that the rendered text starts with, the transcript's ids
 * are kept as they were generated and only the rest is tokenized. Throws `ApiError` 400 where the template refuses.
 */
export type EncodeChat = (messages: readonly ChatMessage[], transcript?: Transcript, extras?: ChatExtras) => Transcript;

/** See `Prompt`. */
export interface ChatExtras {
  tools?: readonly Tool[];
  templateArguments?: Readonly<Record<string, unknown>>;
}

/** Refuses an id that the backend would read out of bounds with. @param param the request field it came in */
export function checkTokenId(id: number, numIds: number, param: string): void {
  if (Number.isInteger(id) && id >= 0 && id < numIds) return;
  throw invalidRequest(`Token id ${id} is not one of this model's: they are 0 to ${numIds - 1}.`, param);
}

export class PromptEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #numIds: number;
  readonly #encodeChat: EncodeChat | null;

  /**
   * @param numIds ids the model itself knows: 0 … numIds − 1
   * @param encodeChat null for a model without a chat format
   */
  constructor(tokenizer: Tokenizer, numIds: number, encodeChat: EncodeChat | null) {
    this.#tokenizer = tokenizer;
    this.#numIds = numIds;
    this.#encodeChat = encodeChat;
  }

  encode(prompt: Prompt, transcript?: Transcript): EncodedPrompt {
    const encoded = this.#encode(prompt, transcript);
    if (encoded.tokens.length === 0) {
      throw invalidRequest("The prompt is empty: it has 0 tokens and needs at least 1.", "prompt");
    }
    return encoded;
  }

  chat(messages: readonly ChatMessage[], transcript?: Transcript, extras?: ChatExtras): Transcript {
    if (this.#encodeChat === null) {
      throw invalidRequest("This model has no chat template. Send a plain prompt to /v1/completions.", "messages");
    }
    return this.#encodeChat(messages, transcript, extras);
  }

  #encode(prompt: Prompt, transcript?: Transcript): EncodedPrompt {
    switch (prompt.kind) {
      case "text": {
        const tokens = this.#tokenizer.encode(prompt.text, { addSpecialTokens: true, parseSpecial: true });
        return { tokens, text: prompt.text, visibleText: prompt.text };
      }
      case "tokens": {
        for (const id of prompt.tokens) checkTokenId(id, this.#numIds, "prompt");
        const text = this.#tokenizer.decode(prompt.tokens, { keepControl: true });
        return { tokens: prompt.tokens, text, visibleText: this.#tokenizer.decode(prompt.tokens) };
      }
      case "chat": {
        const { text, tokens } = this.chat(prompt.messages, transcript, prompt);
        const { answerSoFar = "" } = prompt;
        if (answerSoFar === "") return { tokens, text, visibleText: text };
        const options = { addSpecialTokens: false, parseSpecial: false, continues: true };
        const rest = this.#tokenizer.encode(answerSoFar, options);
        return { tokens: [...tokens, ...rest], text: text + answerSoFar, visibleText: text + answerSoFar };
      }
    }
  }
}
