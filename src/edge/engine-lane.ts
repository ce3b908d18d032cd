/**
 * A Durable Object that answers stateless requests. It holds nothing itself: the engine is the isolate's, and batching
 * comes from several streams stepping it. It exists because decoding in an object is billed by duration, not by CPU,
 * and because requests with the same routing key meet here, in one isolate, and so find each other's prefix cache.
 */
import { DurableObject } from "cloudflare:workers";
import type { GenerateRequest } from "../protocol/generate.ts";
import type { Env } from "./env.ts";
import { generationBytes } from "./event-bytes.ts";
import { type EngineReport, isolateEngine } from "./isolate-engine.ts";
import { capture, type RpcResult } from "./rpc-result.ts";

export class EngineLane extends DurableObject<Env> {
  readonly #owner: string;

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
      return generationBytes(generation, () => isolateEngine.nextEvents(this.env, model, generation));
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
