/**
 * A `GenerateRequest` as the body that an OpenAI-compatible server takes: what `chat-request.ts` and
 * `completion-request.ts` decode, the other way round. Chats go to /chat/completions, plain prompts to /completions.
 *
 * Only what asks for something is written: a field beyond OpenAI's (vLLM's `top_k`, `min_p` …) reaches servers that
 * refuse unknown fields only where the client sent it. The answer is always streamed.
 */
import { unsupportedParameter } from "../errors.ts";
import type { Constraint, GenerateRequest, Prompt } from "../generate.ts";
import { chatMessageBody, toolBodies } from "./upstream-tools.ts";

export interface UpstreamRequestOptions {
  /** The model's name at the upstream. */
  model: string;
  /** The server knows vLLM's `cache_salt`. */
  knowsCacheSalt: boolean;
  /** Words of the answer that are there already; vLLM's `continue_final_message`. null = a new answer. */
  answerSoFar: string | null;
}

export interface UpstreamCall {
  /** Behind the base URL. */
  path: "chat/completions" | "completions";
  body: Record<string, unknown>;
}

export function encodeUpstreamRequest(request: GenerateRequest, options: UpstreamRequestOptions): UpstreamCall {
  const shared = { model: options.model, ...generationFields(request, options), ...STREAM };
  const [first] = request.prompts;
  if (first?.kind === "chat") {
    const messages = first.messages.map(chatMessageBody);
    const body = { ...shared, messages, ...toolBodies(request, first), ...chatLogprobFields(request.logprobs) };
    return {
      path: "chat/completions",
      body: options.answerSoFar === null ? body : continued(body, options.answerSoFar),
    };
  }
  const prompt = promptBody(request.prompts);
  const logprobs = request.logprobs === null ? {} : { logprobs: request.logprobs };
  return { path: "completions", body: { ...shared, prompt, ...logprobs, ...(asksForEcho(request) && { echo: true }) } };
}

/**
 * Texts that our own stream gives back (`echo`), one for each prompt: not every server can. Where logprobs of the prompt
 * are wanted, or it came as token ids, only the server can; then null.
 */
export function echoedTexts(request: GenerateRequest): string[] | null {
  if (!request.echo || asksForEcho(request)) return null;
  return request.prompts.map((prompt) => (prompt.kind === "text" ? prompt.text : ""));
}

const STREAM = { stream: true, stream_options: { include_usage: true } };

function generationFields(request: GenerateRequest, { knowsCacheSalt }: UpstreamRequestOptions) {
  const { sampling, maxTokens, stopStrings, stopTokenIds, n } = request;
  // An origin is asked for a stream, and beam search has none.
  if (request.beams !== null) throw unsupportedParameter("use_beam_search", [false]);
  return {
    temperature: sampling.temperature,
    ...(sampling.topP !== 1 && { top_p: sampling.topP }),
    ...(sampling.topK !== 0 && { top_k: sampling.topK }),
    ...(sampling.minP !== 0 && { min_p: sampling.minP }),
    ...(sampling.repetitionPenalty !== 1 && { repetition_penalty: sampling.repetitionPenalty }),
    ...(sampling.presencePenalty !== 0 && { presence_penalty: sampling.presencePenalty }),
    ...(sampling.frequencyPenalty !== 0 && { frequency_penalty: sampling.frequencyPenalty }),
    ...(sampling.logitBias.length > 0 && { logit_bias: Object.fromEntries(sampling.logitBias) }),
    ...(sampling.seed !== null && { seed: sampling.seed }),
    ...(maxTokens !== null && { max_tokens: maxTokens }),
    ...(stopStrings.length > 0 && { stop: stopStrings }),
    ...(stopTokenIds.length > 0 && { stop_token_ids: stopTokenIds }),
    ...(request.ignoreEos && { ignore_eos: true }),
    ...(request.minTokens !== 0 && { min_tokens: request.minTokens }),
    ...(request.allowedTokenIds !== null && { allowed_token_ids: request.allowedTokenIds }),
    ...(request.badWords.length > 0 && { bad_words: request.badWords }),
    ...(request.constraint !== null && constraintFields(request.constraint)),
    ...(request.priority !== 0 && { priority: request.priority }),
    ...(n > 1 && { n }),
    ...(knowsCacheSalt && request.cacheSalt !== "" && { cache_salt: request.cacheSalt }),
  };
}

/** OpenAI's field where it has one, else vLLM's. */
function constraintFields(constraint: Constraint): object {
  switch (constraint.kind) {
    case "json":
      return { response_format: { type: "json_object" } };
    case "schema": {
      const { schema } = constraint;
      return { response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: true } } };
    }
    case "regex":
      return { structured_outputs: { regex: constraint.pattern } };
    case "choice":
      return { structured_outputs: { choice: constraint.choices } };
    case "grammar":
      return { structured_outputs: { grammar: constraint.text } };
  }
}

function continued(body: { messages: object[] }, answerSoFar: string) {
  return {
    ...body,
    messages: [...body.messages, { role: "assistant", content: answerSoFar }],
    continue_final_message: true,
    add_generation_prompt: false,
  };
}

function chatLogprobFields(logprobs: number | null): object {
  return logprobs === null ? {} : { logprobs: true, top_logprobs: logprobs };
}

function promptBody(prompts: readonly Prompt[]): unknown {
  const bodies = prompts.map((prompt) => {
    if (prompt.kind === "chat") throw new Error("A chat beside other prompts cannot be written as one request.");
    return prompt.kind === "text" ? prompt.text : prompt.tokens;
  });
  return bodies.length === 1 ? bodies[0] : bodies;
}

function asksForEcho({ echo, logprobs, prompts }: GenerateRequest): boolean {
  return echo && (logprobs !== null || prompts.some(({ kind }) => kind === "tokens"));
}
