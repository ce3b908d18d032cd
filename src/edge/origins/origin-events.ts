/** A stateless answer of an origin, as the routes read it. */
import type { EventStream } from "../../api/model-service.ts";
import { ApiError, unsupportedParameter } from "../../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../../protocol/generate.ts";
import type { Env } from "../env.ts";
import type { OriginModel } from "./origin.ts";
import { OriginGeneration } from "./origin-generation.ts";
import { originHost } from "./origin-pool.ts";

/**
 * Resolves when an origin has taken the request. For a model with a fallback that is when it has begun to answer, so that
 * whoever falls back can still say so in the head of the response.
 *
 * @param signal of the client's connection
 * @throws ApiError where no origin takes it
 */
export async function originEvents(
  env: Env,
  model: OriginModel,
  request: GenerateRequest,
  affinityKey: string,
  signal: AbortSignal | null,
): Promise<EventStream> {
  // The client chooses its salt, and no choice of it is a session's.
  const cacheSalt = request.cacheSalt === "" ? "" : `request:${request.cacheSalt}`;
  const ask = { model, request: { ...request, cacheSalt }, affinityKey, answerSoFar: answerSoFarOf(request, model) };
  const generation = new OriginGeneration(originHost(env), ask);
  const abort = () => generation.abort();
  signal?.addEventListener("abort", abort);
  try {
    await generation.open();
    const first = model.fallback === null ? [] : await generation.firstEvents();
    return eventStream(generation, first);
  } catch (cause) {
    generation.abort();
    throw cause;
  } finally {
    signal?.removeEventListener("abort", abort);
    if (signal?.aborted) abort();
  }
}

/** Nobody of the origins can answer now, but the request may be fine. */
export function isUnavailability(cause: unknown): boolean {
  return cause instanceof ApiError && [429, 502, 503, 504].includes(cause.status);
}

/** @throws ApiError where no origin could go on from it, and all would begin anew */
function answerSoFarOf({ prompts }: GenerateRequest, { places }: OriginModel): string | null {
  const [first] = prompts;
  if (first?.kind !== "chat" || first.answerSoFar === undefined) return null;
  if (places.some(({ origin }) => origin.knowsExtras)) return first.answerSoFar;
  throw unsupportedParameter("continue_final_message", [false]);
}

function eventStream(generation: OriginGeneration, first: GenerateEvent[]): EventStream {
  const queue = [...first];
  return {
    async next() {
      if (queue.length === 0) queue.push(...(await generation.nextEvents()));
      return queue.shift() ?? null;
    },
    cancel: () => generation.abort(),
  };
}
