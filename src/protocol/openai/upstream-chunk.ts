/**
 * One chunk of another server's stream, or its whole answer, read for what it says. Servers differ in what they leave
 * out, so nothing is taken for granted: text may be null, a bare number (Workers AI), a list of parts, or lie in
 * `response`; `finish_reason` may come with the last text or by itself; `usage` anywhere.
 *
 * Reasoning that a server keeps apart (`reasoning`, `reasoning_content`) is no part of an answer here.
 */
import type { FinishReason, TokenLogprob } from "../generate.ts";
import { countOf, type JsonObject, listOf, objectOf, stringOf } from "../json-values.ts";
import { upstreamLogprobs } from "./upstream-logprobs.ts";

export interface UpstreamChoice {
  index: number;
  text: string;
  tokens: TokenLogprob[] | null;
  finish: { reason: FinishReason; stop: string | number | null } | null;
}

export interface UpstreamUsage {
  promptTokens: number | null;
  completionTokens: number | null;
  cachedTokens: number | null;
}

export interface UpstreamChunk {
  choices: UpstreamChoice[];
  usage: UpstreamUsage | null;
}

export function readUpstreamChunk(chunk: JsonObject): UpstreamChunk {
  const choices = listOf(chunk.choices).flatMap((value) => {
    const choice = objectOf(value);
    return choice === null ? [] : [choiceOf(choice)];
  });
  // Workers AI's own shape.
  const response = textOf(chunk.response);
  if (choices.length === 0 && response !== "") choices.push({ index: 0, text: response, tokens: null, finish: null });
  return { choices, usage: usageOf(chunk) };
}

function choiceOf(choice: JsonObject): UpstreamChoice {
  const said = objectOf(choice.delta) ?? objectOf(choice.message);
  return {
    index: countOf(choice.index) ?? 0,
    text: said === null ? textOf(choice.text) : textOf(said.content),
    tokens: upstreamLogprobs(choice.logprobs),
    finish: finishOf(choice),
  };
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  return listOf(value)
    .map((part) => stringOf(objectOf(part)?.text) ?? "")
    .join("");
}

/** A filter that cut the answer is no end that the model chose. */
const REASONS: Readonly<Record<string, FinishReason>> = { length: "length", abort: "abort", content_filter: "abort" };

function finishOf(choice: JsonObject): UpstreamChoice["finish"] {
  const reason = stringOf(choice.finish_reason);
  if (reason === null || reason === "") return null;
  return { reason: REASONS[reason] ?? "stop", stop: stopOf(choice) };
}

/** vLLM's `stop_reason`. SGLang's `matched_stop` is the end token's id where the model ended by itself: no stop. */
function stopOf({ stop_reason, matched_stop }: JsonObject): string | number | null {
  return typeof stop_reason === "number" ? stop_reason : (stringOf(stop_reason) ?? stringOf(matched_stop));
}

function usageOf(chunk: JsonObject): UpstreamUsage | null {
  const usage = objectOf(chunk.usage);
  if (usage === null) return null;
  return {
    promptTokens: countOf(usage.prompt_tokens),
    completionTokens: countOf(usage.completion_tokens),
    cachedTokens: countOf(objectOf(usage.prompt_tokens_details)?.cached_tokens),
  };
}
