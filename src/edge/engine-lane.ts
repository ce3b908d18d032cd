/**
 * A Durable Object that answers stateless requests. It holds nothing itself: the engine is the isolate's, and batching
 * comes from several streams stepping it. It exists because decoding in an object is billed by duration, not by CPU,
 * and because requests with the same routing key meet here, in one isolate, and so find each other's prefix cache.
 */
import { DurableObject } from "cloudflare:workers";
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import type { GenerateRequest } from "../protocol/generate.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";
import type { TextGeneration } from "../serving/generation.ts";
import { CpuBudget } from "./cpu-budget.ts";
import type { Env } from "./env.ts";
import { generationBytes } from "./event-bytes.ts";
import { type EngineReport, isolateEngine } from "./isolate-engine.ts";
import { isolateMetrics } from "./metrics/isolate-metrics.ts";
import { capture, type RpcResult } from "./rpc-result.ts";

export class EngineLane extends DurableObject<Env> {
  readonly #owner: string;
  /** Streams share the object's CPU time. Some of them may have ended. */
  readonly #open = new Set<TextGeneration>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#owner = ctx.id.toString();
    isolateEngine.ownerRestarted(this.#owner);
  }

  /** Every refusal comes as a value, before there is a stream. */
  async generate(request: GenerateRequest): Promise<RpcResult<ReadableStream<Uint8Array>>> {
    return capture(request.requestId, async () => {
      const model = await isolateEngine.acquire(this.env, request.model);
      // The client chooses its salt, and no choice of it is a session's.
      const salted = { ...request, cacheSalt: `request:${request.cacheSalt}` };
      const generation = isolateEngine.generate(this.#owner, model, salted);
      const budget = new CpuBudget(Number.POSITIVE_INFINITY, () => Date.now());
      for (const other of this.#open) if (other.hasEnded) this.#open.delete(other);
      this.#open.add(generation);
      let hasBegun = false;
      const next = () => isolateEngine.nextEvents(this.env, model, generation, budget);
      const nextOrEarlyEnd = async () => {
        const events = await next();
        // It runs by now.
        if (!hasBegun) this.#tellOccupancy();
        hasBegun = true;
        if (!budget.isSpent || generation.hasEnded) return events;
        this.#endAll();
        return [...events, ...(await next())];
      };
      return generationBytes(generation, nextOrEarlyEnd, () => this.#tellOccupancy());
    });
  }

  /** A sequence came or went. */
  #tellOccupancy(): void {
    isolateMetrics.engineMoved();
    this.ctx.waitUntil(isolateMetrics.flush(this.env));
  }

  /**
   * The CPU time of this object is nearly used up, and there is no other object where its answers could go on: they end
   * with what they have, as answers that came to their `max_tokens`, instead of being killed.
   */
  #endAll(): void {
    for (const generation of this.#open) generation.endEarly();
    this.#open.clear();
  }

  async embed(request: EmbedRequest): Promise<RpcResult<Embeddings>> {
    return capture(request.requestId, async () => {
      const model = await isolateEngine.acquire(this.env, request.model);
      const salted = { ...request, cacheSalt: `request:${request.cacheSalt}` };
      const budget = new CpuBudget(Number.POSITIVE_INFINITY, () => Date.now());
      return isolateEngine.embed(this.env, this.#owner, model, salted, budget);
    });
  }

  async tokenize(request: TokenizeRequest): Promise<RpcResult<Tokenized>> {
    return capture(request.requestId, async () => {
      return (await isolateEngine.acquire(this.env, request.model)).tokenize(request);
    });
  }

  async detokenize(request: DetokenizeRequest): Promise<RpcResult<Detokenized>> {
    return capture(request.requestId, async () => {
      return (await isolateEngine.acquire(this.env, request.model)).detokenize(request);
    });
  }

  /** Loads the model where it is not loaded yet, and says what answers. */
  async warm(requestId: string, model: string): Promise<RpcResult<EngineReport>> {
    return capture(requestId, async () => {
      await isolateEngine.acquire(this.env, model);
      return isolateEngine.report(this.env, model);
    });
  }
}
