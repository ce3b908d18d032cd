/**
 * POST /tokenize and /detokenize in vLLM's shapes (vLLM, "Tokenizer API"). TGI has a /tokenize, too: a body with `inputs`
 * is one of its, and gets its list of tokens.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { MODEL_NAME_CHARS_MAX, TEXT_CHARS_MAX } from "../limits.ts";
import { type RefusedField, refuseFields } from "../refused-fields.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../tokenize.ts";
import { JsonBounds } from "./json-bounds.ts";
import { decodeMessages } from "./messages.ts";
import { decodeTokenIds } from "./prompts.ts";
import { decodeTemplateArguments } from "./template-fields.ts";
import { decodeToolUse } from "./tool-fields.ts";
import { quote, validate, validateObject } from "./validate.ts";

const modelSchema = lazily(() => z.string().min(1).max(MODEL_NAME_CHARS_MAX).nullish());

/** A chat's fields are decoded apart. */
export const tokenizeSchema = lazily(() => {
  const text = z.string().max(TEXT_CHARS_MAX).nullish();
  return z.object({
    /** Absent = the first model of the list. */
    model: modelSchema(),
    prompt: text,
    /** TGI's. */
    inputs: text,
    /** Absent = true for a prompt; a chat has what its template writes. */
    add_special_tokens: z.boolean().nullish(),
    return_token_strs: z.boolean().nullish(),
  });
});

export const detokenizeSchema = lazily(() => z.object({ model: modelSchema() }));

const REFUSED: readonly RefusedField[] = [
  { field: "chat_template" },
  { field: "add_generation_prompt", neutral: [true] },
  { field: "continue_final_message", neutral: [false] },
];

/** `model` null = the first one of the list. */
export type Unnamed<T extends { model: string }> = Omit<T, "model"> & { model: string | null };

export interface DecodedTokenize {
  request: Unnamed<TokenizeRequest>;
  /** Of a request in TGI's shape, whose answer says where tokens lie in it. */
  isTgi: boolean;
}

export function decodeTokenize(body: unknown, requestId: string): DecodedTokenize {
  const raw = validateObject(body);
  refuseFields(raw, REFUSED);
  const fields = validate(tokenizeSchema(), raw);
  const given = [fields.prompt, fields.inputs, raw.messages].filter((one) => one != null);
  if (given.length !== 1) {
    throw invalidRequest("One of 'prompt', 'messages' and 'inputs' is required, and no two of them.", "prompt");
  }
  const isTgi = fields.inputs != null;
  const isChat = raw.messages != null;
  const prompt: Prompt = isChat ? chatPrompt(raw) : { kind: "text", text: fields.prompt ?? fields.inputs ?? "" };
  return {
    request: {
      requestId,
      model: fields.model ?? null,
      prompt,
      addSpecialTokens: fields.add_special_tokens ?? !isChat,
      wantsTexts: isTgi || fields.return_token_strs === true,
    },
    isTgi,
  };
}

/** A chat's tokens are those of its tools and of the template's other variables, too. */
function chatPrompt(raw: Record<string, unknown>): Prompt {
  const bounds = new JsonBounds();
  const messages = decodeMessages(raw.messages, bounds);
  const { tools } = decodeToolUse({ tools: raw.tools }, bounds);
  const templateArguments = decodeTemplateArguments(raw, bounds);
  return {
    kind: "chat",
    messages,
    ...(tools.length > 0 && { tools }),
    ...(Object.keys(templateArguments).length > 0 && { templateArguments }),
  };
}

export function decodeDetokenize(body: unknown, requestId: string): Unnamed<DetokenizeRequest> {
  const raw = validateObject(body);
  const fields = validate(detokenizeSchema(), raw);
  const { tokens } = raw;
  if (!Array.isArray(tokens)) {
    const but = tokens == null ? "" : `, but is ${quote(tokens)}`;
    throw invalidRequest(`'tokens' must be a list of token ids${but}.`, "tokens");
  }
  return { requestId, model: fields.model ?? null, tokens: decodeTokenIds(tokens, ["tokens"]) };
}

export function tokenizeBody({ tokens, texts, contextLength }: Tokenized) {
  return {
    count: tokens.length,
    max_model_len: contextLength,
    tokens,
    token_strs: texts,
  };
}

export function detokenizeBody({ text: prompt }: Detokenized) {
  return { prompt };
}

/**
 * TGI's list. A token's place is where its text comes next in the input; one that is not found there (a control token, a
 * part of a character) has no extent.
 */
export function tgiTokens({ tokens, texts }: Tokenized, inputs: string) {
  let at = 0;
  return tokens.map((id, i) => {
    const piece = texts?.[i] ?? "";
    const start = at;
    if (inputs.startsWith(piece, at)) at += piece.length;
    return { id, text: piece, start, stop: at };
  });
}
