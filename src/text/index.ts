/** The text half of a model: its tokenizer and its chat format, whatever files they come from. */
import { ModelError } from "../model/errors.ts";
import type { GgufHeader } from "../model/gguf.ts";
import { JinjaChatTemplate } from "./chat-template.ts";
import { fallbackTemplate } from "./fallback-templates.ts";
import { fromGguf } from "./from-gguf.ts";
import { fromTokenizerJson } from "./from-tokenizer-json.ts";
import type { LibraryTokenizer } from "./library-tokenizer.ts";
import type { ChatTemplate } from "./tokenizer.ts";
import { isObject } from "./tokenizer-json.ts";

export { type ChatTokenizer, encodeChat } from "./chat-encoder.ts";
export { StopMatcher } from "./stop-strings.ts";
export { type Transcript, transcriptAfter } from "./transcript.ts";

export interface ModelText {
  tokenizer: LibraryTokenizer;
  template: ChatTemplate;
}

export interface TextOptions {
  /** Wall clock for templates that print the date, in milliseconds since 1970. */
  nowMs: () => number;
}

/** The header may be dropped afterwards; only its token texts stay alive. @throws ModelError */
export function loadText(header: Pick<GgufHeader, "metadata">, options: TextOptions): ModelText {
  const source = header.metadata.get("tokenizer.chat_template");
  return withTemplate(fromGguf(header), typeof source === "string" ? source : null, options);
}

/** From parsed tokenizer.json and tokenizer_config.json. @throws ModelError */
export function loadTextFromJson(file: unknown, config: unknown, options: TextOptions): ModelText {
  return withTemplate(fromTokenizerJson(file, config), templateOf(config), options);
}

function withTemplate(tokenizer: LibraryTokenizer, source: string | null, { nowMs }: TextOptions): ModelText {
  const template = new JinjaChatTemplate(source ?? fallbackTemplate((text) => tokenizer.controlTexts.has(text)), {
    bosToken: tokenizer.tokenText(tokenizer.bosId),
    eosToken: tokenizer.tokenText(tokenizer.eosId),
    nowMs,
  });
  return { tokenizer, template };
}

/** tokenizer_config.json has one template, or several by name, of which "default" is the plain chat. */
function templateOf(config: unknown): string | null {
  const value = isObject(config) ? config.chat_template : undefined;
  if (value === undefined || value === null) return null;
  if (typeof value === "string") return value;
  const named = Array.isArray(value) ? value.find((one) => isObject(one) && one.name === "default") : undefined;
  const source = isObject(named) ? named.template : undefined;
  if (typeof source === "string") return source;
  throw new ModelError(
    "corrupt",
    "tokenizer_config.json: chat_template is neither a text nor a list with a 'default'.",
  );
}
