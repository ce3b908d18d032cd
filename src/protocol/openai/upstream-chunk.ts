/**
 * One chunk of another server's stream, or its whole answer, read for what it says. Servers differ in what they leave
 * out, so nothing is taken for granted: text may be null, a bare number (Workers AI), a list of parts, or lie in
 * `response`; `finish_reason` may come with the last text or by itself; `usage` anywhere. Thoughts that a server keeps apart
 * are in `reasoning_content` or `reasoning`, or the same in both.
 */
import type { FinishReason, TokenLogprob } from "../generate.ts";
import { countOf, type JsonObject, listOf, objectOf, stringOf } from "../json-values.ts";
import { type UpstreamCallPiece, upstreamCallPieces } from "./upstream-calls.ts";
import { upstreamLogprobs } from "./upstream-logprobs.ts";

export interface UpstreamChoice {
  index: number;
  text: string;
  reasoning: string;
  calls: UpstreamCallPiece[];
  /** Of thoughts and text. */
  tokens: TokenLogprob[] | null;
  finish: { reason: FinishReason; stop: string | number | null } | null;
}

export interface UpstreamUsage {
  promptTokens: number | null;
  completionTokens: number | null;
  cachedTokens: number | null;
  reasoningTokens: number | null;
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
  const calls = upstreamCallPieces(chunk);
  if (choices.length === 0 && (response !== "" || calls.length > 0)) {
    choices.push({ index: 0, text: response, reasoning: "", calls, tokens: null, finish: null });
  }
  return { choices, usage: usageOf(chunk) };
}

function choiceOf(choice: JsonObject): UpstreamChoice {
  const said = objectOf(choice.delta) ?? objectOf(choice.message);
  return {
    index: countOf(choice.index) ?? 0,
    text: said === null ? textOf(choice.text) : textOf(said.content),
    reasoning: said === null ? "" : textOf(said.reasoning_content) || textOf(said.reasoning),
    calls: said === null ? [] : upstreamCallPieces(said),
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

/** A filter that cut the answer is no end that the model chose. Whether there were calls is seen by the calls. */
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
    reasoningTokens: countOf(objectOf(usage.completion_tokens_details)?.reasoning_tokens),
  };
}
