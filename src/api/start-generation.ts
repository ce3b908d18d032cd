/**
 * The way of every route to a generation: is the key for this model, do its limits have room, and then the service. What
 * comes of it is measured on the way to the client, and what it took off the limits is put right at its end.
 */
import type { GenerateRequest } from "../protocol/generate.ts";
import { estimateTokens } from "../protocol/token-estimate.ts";
import { assertMayUse, tenantSalt } from "./caller.ts";
import type { ApiContext, ApiOptions } from "./context.ts";
import { errorCode, meteredEvents } from "./metered-events.ts";
import type { EventStream } from "./model-service.ts";
import { type Grant, NO_GRANT } from "./rate-limits.ts";
import { RequestMeter } from "./request-meter.ts";

/** @throws ApiError 403 or 429 of the key, or whatever the model refuses */
export async function startGeneration(
  context: ApiContext,
  options: ApiOptions,
  request: GenerateRequest,
  routingKey: string | null,
): Promise<EventStream> {
  const { clock, limits, models, observer } = options;
  const caller = context.get("caller");
  assertMayUse(caller, request.model);
  const grant = (await limits?.take(caller, estimateTokens(request))) ?? NO_GRANT;
  context.set("grantHeaders", grant.headers);
  const meter: RequestMeter = new RequestMeter({
    model: request.model,
    nowMs: () => clock.nowMs(),
    arrivedAtMs: context.get("arrivedAtMs"),
    betweenTokens: (gapMs) => observer?.betweenTokens(meter.summary.model ?? request.model, meter.summary.tier, gapMs),
  });
  settleAtEnd(context, meter, grant);
  if (options.logsPrompts === true) context.set("loggedPrompt", JSON.stringify(request.prompts));
  const salted = { ...request, cacheSalt: tenantSalt(caller, request.cacheSalt) };
  try {
    const events = await models.generate(salted, routingKey, context.req.raw.signal);
    meter.answeredBy(events.fallbackModel ?? request.model, events.tier ?? null);
    context.set("meter", meter);
    if (observer !== undefined) inBackground(context, meter.ended.then(observer.generationEnded));
    return meteredEvents(events, meter);
  } catch (cause) {
    meter.failed(errorCode(cause));
    throw cause;
  }
}

/** Work that is answered whole. */
interface WholeWork<T> {
  model: string;
  /** That it is going to take, as far as anybody knows. */
  numTokens: number;
  answer(): Promise<T>;
  /** Tokens that it took after all. */
  usedBy(answer: T): number;
}

/**
 * The same way for what is answered whole and takes no turns: vectors, ids of tokens.
 *
 * @throws ApiError as `startGeneration`
 */
export async function answeredWhole<T>(context: ApiContext, { limits }: ApiOptions, work: WholeWork<T>): Promise<T> {
  const caller = context.get("caller");
  assertMayUse(caller, work.model);
  const grant = (await limits?.take(caller, work.numTokens)) ?? NO_GRANT;
  context.set("grantHeaders", grant.headers);
  let numUsed = 0;
  try {
    const answer = await work.answer();
    numUsed = work.usedBy(answer);
    return answer;
  } finally {
    inBackground(context, grant.settle(numUsed));
  }
}

function settleAtEnd(context: ApiContext, meter: RequestMeter, grant: Grant): void {
  const settled = meter.ended.then(({ promptTokens, completionTokens }) => {
    return grant.settle(promptTokens + completionTokens);
  });
  inBackground(context, settled);
}

/** Measures the answer of a session for the log; the session's object counts it, with or without a reader. */
export function meteredTurn(context: ApiContext, { clock }: ApiOptions, events: EventStream): EventStream {
  const nowMs = () => clock.nowMs();
  const meter = new RequestMeter({ model: null, nowMs, arrivedAtMs: context.get("arrivedAtMs") });
  context.set("meter", meter);
  return meteredEvents(events, meter);
}

/** Keeps a Worker's invocation until it is done; a host that never sleeps needs no telling. */
export function inBackground(context: ApiContext, work: Promise<unknown>): void {
  try {
    context.executionCtx.waitUntil(work);
  } catch {
    // Hono throws where the host has none.
  }
}
