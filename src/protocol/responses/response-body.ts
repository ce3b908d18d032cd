/** The response object (OpenAI API reference, "The response object"), with every key that its clients require. */
import type { FinishReason, Usage } from "../generate.ts";

/** What a response repeats of its request. */
export interface ResponseEcho {
  /** As asked for; the answer's own may be another one's in its place. */
  model: string;
  instructions: string | null;
  previous_response_id: string | null;
  max_output_tokens: number | null;
  temperature: number;
  top_p: number;
  top_logprobs: number;
  tools: object[];
  tool_choice: unknown;
  parallel_tool_calls: boolean;
  text: object;
  reasoning: { effort: string | null; summary: string | null };
  truncation: "disabled" | "auto";
  metadata: Record<string, string>;
  store: boolean;
  user?: string;
  prompt_cache_key?: string;
  safety_identifier?: string;
}

/** What is known of a response before its answer begins. */
export interface ResponseFrame {
  id: string;
  /** Unix seconds. */
  createdS: number;
  echo: ResponseEcho;
}

export interface LogprobEntry {
  token: string;
  logprob: number;
  bytes: number[];
  top_logprobs: { token: string; logprob: number; bytes: number[] }[];
}

export type ItemStatus = "in_progress" | "completed" | "incomplete";

export interface OutputText {
  type: "output_text";
  text: string;
  annotations: never[];
  logprobs: LogprobEntry[];
}

export type OutputItem =
  | { id: string; type: "message"; role: "assistant"; status: ItemStatus; content: OutputText[] }
  | {
      id: string;
      type: "reasoning";
      status: ItemStatus;
      summary: never[];
      content: { type: "reasoning_text"; text: string }[];
    }
  | { id: string; type: "function_call"; status: ItemStatus; call_id: string; name: string; arguments: string };

export type ResponseStatus = "in_progress" | "completed" | "incomplete" | "cancelled" | "failed";

export interface ResponseError {
  code: "server_error" | "rate_limit_exceeded" | "invalid_prompt";
  message: string;
}

export interface ResponseState {
  status: ResponseStatus;
  /** Of the answer; "" while nobody has said. */
  model: string;
  output: OutputItem[];
  error: ResponseError | null;
  usage: Usage | null;
}

export function responseBody({ id, createdS, echo }: ResponseFrame, state: ResponseState) {
  const { model, ...repeated } = echo;
  return {
    id,
    object: "response" as const,
    created_at: createdS,
    status: state.status,
    background: false,
    error: state.error,
    incomplete_details: state.status === "incomplete" ? { reason: "max_output_tokens" as const } : null,
    model: state.model === "" ? model : state.model,
    output: state.output,
    ...repeated,
    service_tier: "default" as const,
    // OpenAI's schema knows no null here: it is there when the answer is.
    ...(state.usage !== null && { usage: usageBody(state.usage) }),
  };
}

export type ResponseBody = ReturnType<typeof responseBody>;

export function responseDeletedBody(id: string) {
  return { id, object: "response" as const, deleted: true };
}

export function statusOf(reason: FinishReason): ResponseStatus {
  if (reason === "length") return "incomplete";
  return reason === "abort" ? "cancelled" : "completed";
}

function usageBody({ promptTokens, completionTokens, cachedTokens, reasoningTokens }: Usage) {
  return {
    input_tokens: promptTokens,
    // Nobody is charged for filling the prefix cache, so nothing is counted as written to it.
    input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens ?? 0 },
    total_tokens: promptTokens + completionTokens,
  };
}
