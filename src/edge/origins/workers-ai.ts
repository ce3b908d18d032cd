/**
 * Workers AI by its binding, as an upstream like any other: chats in OpenAI's shape go in, server-sent events come out
 * (newer models in OpenAI's shape, older ones in their own, which `upstream-chunk.ts` reads, too).
 */
import { type ApiError, invalidRequest, unsupportedParameter } from "../../protocol/errors.ts";
import type { GenerateRequest } from "../../protocol/generate.ts";
import { hider } from "./hidden-text.ts";
import type { Upstream } from "./upstream.ts";

/** What is used of the binding. */
export interface WorkersAi {
  run(
    model: string,
    inputs: Record<string, unknown>,
    options: { returnRawResponse: true; signal: AbortSignal },
  ): Promise<Response>;
}

/** The platform's own default is 256, which would cut most answers short. */
const MAX_TOKENS = 2048;
/** Error codes in the text of what the binding throws: "3040: Capacity temporarily exceeded". */
const BUSY = /^\D*(3036|3040)\b/;
const NOT_FOUND = /^\D*(5007)\b/;

export function workersAiUpstream(ai: WorkersAi): Upstream {
  return {
    async send({ body }, _requestId, signal) {
      const { model, stream_options: _, ...inputs } = body;
      try {
        return await ai.run(
          String(model),
          { ...inputs, max_tokens: inputs.max_tokens ?? MAX_TOKENS },
          { returnRawResponse: true, signal },
        );
      } catch (cause) {
        return refusal(cause instanceof Error ? cause.message : String(cause));
      }
    },
    probe: null,
    hide: hider([]),
  };
}

/**
 * Its models know few parameters and ignore the others, which would change an answer silently.
 *
 * @returns what is wrong with the request for such an origin; null = nothing
 */
export function workersAiRefusal(request: GenerateRequest): ApiError | null {
  const { sampling, toolChoice, parallelToolCalls } = request;
  const [prompt] = request.prompts;
  const refused: [param: string, isAsked: boolean][] = [
    ["n", request.n > 1],
    ["logprobs", request.logprobs !== null],
    ["echo", request.echo],
    ["stop", request.stopStrings.length > 0],
    ["stop_token_ids", request.stopTokenIds.length > 0],
    ["ignore_eos", request.ignoreEos],
    ["min_tokens", request.minTokens !== 0],
    ["allowed_token_ids", request.allowedTokenIds !== null],
    ["bad_words", request.badWords.length > 0],
    ["response_format", request.constraint !== null],
    ["min_p", sampling.minP !== 0],
    ["logit_bias", sampling.logitBias.length > 0],
    ["tool_choice", toolChoice !== "none" && toolChoice !== "auto"],
    ["parallel_tool_calls", toolChoice !== "none" && !parallelToolCalls],
    ["chat_template_kwargs", prompt?.kind === "chat" && prompt.templateArguments !== undefined],
  ];
  const param = refused.find(([, isAsked]) => isAsked)?.[0];
  if (param !== undefined) return unsupportedParameter(param);
  const isOnePrompt = request.prompts.length === 1 && request.prompts[0]?.kind !== "tokens";
  return isOnePrompt ? null : invalidRequest("This model takes one prompt, and as text.", "prompt");
}

/** What it throws as the response of a server: then there is one way to judge it. */
function refusal(message: string): Response {
  const status = BUSY.test(message) ? 429 : NOT_FOUND.test(message) ? 404 : 502;
  return Response.json({ error: { message } }, { status });
}
