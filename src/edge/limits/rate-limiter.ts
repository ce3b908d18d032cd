/**
 * The limits of one API key: a Durable Object named by the key's id, so that all isolates count in one place. It holds two
 * buckets and nothing else, kept in storage because an object is forgotten after ten idle seconds and its buckets must not
 * be full again by that. Writes are not waited for: what a crash loses of them is milliseconds old.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { decide, type KeyLimits, type LimitBuckets, type LimitDecision, NO_BUCKETS, settled } from "./key-limits.ts";

const BUCKETS = "buckets";

export type LimitAnswer = Omit<LimitDecision, "buckets">;

export class RateLimiter extends DurableObject<Env> {
  #buckets: LimitBuckets = NO_BUCKETS;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      this.#buckets = (await ctx.storage.get<LimitBuckets>(BUCKETS)) ?? NO_BUCKETS;
    });
  }

  /** One request of about so many tokens. */
  take(limits: KeyLimits, numTokens: number): LimitAnswer {
    const { buckets, ...answer } = decide(this.#buckets, limits, { requests: 1, tokens: numTokens }, Date.now());
    this.#keep(buckets);
    return answer;
  }

  /** @param surplus see `settled` */
  settle(limits: KeyLimits, surplus: number): void {
    this.#keep(settled(this.#buckets, limits, surplus, Date.now()));
  }

  #keep(buckets: LimitBuckets): void {
    this.#buckets = buckets;
    this.ctx.waitUntil(this.ctx.storage.put(BUCKETS, buckets, { allowUnconfirmed: true }));
  }
}
