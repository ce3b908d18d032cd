/** Prompts of completions and inputs of embeddings: a text, a list of texts, a list of token ids, or a list of such lists. */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { PROMPT_TOKENS_MAX, TEXT_CHARS_MAX, TOKEN_ID_MAX } from "../limits.ts";
import { checkCount, dotted, quote, validate } from "./validate.ts";

const textSchema = lazily(() => z.string().max(TEXT_CHARS_MAX));

/** For documentation; `decodePrompts` decides. */
export function promptsSchema(numMax: number) {
  const tokens = z.array(z.int().min(0).max(TOKEN_ID_MAX)).min(1).max(PROMPT_TOKENS_MAX);
  return z.union([textSchema(), z.array(textSchema()).min(1).max(numMax), tokens, z.array(tokens).min(1).max(numMax)]);
}

const WANTED = "a text, a list of texts, a list of token ids, or a list of lists of token ids";

/** @param param the field they come from */
export function decodePrompts(value: unknown, param: string, numMax: number): Prompt[] {
  if (typeof value === "string") return [decodePrompt(value, [param])];
  if (value == null) throw invalidRequest(`'${param}' is required: ${WANTED}.`, param);
  if (!Array.isArray(value)) throw invalidRequest(`'${param}' must be ${WANTED}, but is ${quote(value)}.`, param);
  if (value.length === 0) throw invalidRequest(`'${param}' must have at least 1 entry, but has 0.`, param);
  if (typeof value[0] === "number") return [decodePrompt(value, [param])];
  checkCount(value, numMax, [param]);
  const kind = kindOf(value[0]);
  return value.map((prompt, index) => {
    if (kindOf(prompt) !== kind || kind === null) {
      const at = dotted([param, index]);
      throw invalidRequest(`'${param}' must be ${WANTED}, but '${at}' is ${quote(prompt)}.`, at);
    }
    return decodePrompt(prompt, [param, index]);
  });
}

function kindOf(prompt: unknown): "text" | "tokens" | null {
  if (typeof prompt === "string") return "text";
  return Array.isArray(prompt) ? "tokens" : null;
}

function decodePrompt(prompt: string | unknown[], path: readonly PropertyKey[]): Prompt {
  if (typeof prompt === "string") return { kind: "text", text: validate(textSchema(), prompt, path) };
  const param = dotted(path);
  if (prompt.length === 0) throw invalidRequest(`'${param}' must have at least 1 token id, but has 0.`, param);
  return { kind: "tokens", tokens: decodeTokenIds(prompt, path) };
}

/** By hand, since there may be a hundred thousand of them. */
export function decodeTokenIds(list: readonly unknown[], path: readonly PropertyKey[]): number[] {
  checkCount(list, PROMPT_TOKENS_MAX, path);
  for (const [index, id] of list.entries()) {
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= TOKEN_ID_MAX) continue;
    const at = dotted([...path, index]);
    throw invalidRequest(`'${at}' must be a token id from 0 to ${TOKEN_ID_MAX}, but is ${quote(id)}.`, at);
  }
  return list as number[];
}
