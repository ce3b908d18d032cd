/** Text to token ids and back, as a model's own tokenizer has it. */
import type { Prompt } from "./generate.ts";

export interface TokenizeRequest {
  /** For errors and logs, as in `GenerateRequest`. */
  requestId: string;
  model: string;
  prompt: Prompt;
  /** BOS and EOS where the model's own settings want them. A chat has those that its template writes. */
  addSpecialTokens: boolean;
  /** Give out what each token stands for, too. */
  wantsTexts: boolean;
}

export interface Tokenized {
  model: string;
  tokens: number[];
  /** One for each token, control tokens spelled out; U+FFFD where a token is no whole UTF-8. null = not asked for. */
  texts: string[] | null;
  contextLength: number;
}

export interface DetokenizeRequest {
  requestId: string;
  model: string;
  tokens: number[];
}

export interface Detokenized {
  model: string;
  /** With control tokens spelled out. */
  text: string;
}
