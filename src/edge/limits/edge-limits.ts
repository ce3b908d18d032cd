/** Keys' limits on top of their `RateLimiter` objects. A key without limits costs no hop. */
import type { Grant, RateLimits } from "../../api/rate-limits.ts";
import { NO_GRANT } from "../../api/rate-limits.ts";
import { rateLimited } from "../../protocol/errors.ts";
import type { Env } from "../env.ts";
import { type ApiKey, apiKeysOf } from "../keys/api-keys.ts";
import { type KeyLimits, reservedTokens } from "./key-limits.ts";
import { limitHeaders } from "./limit-headers.ts";

type LimitEnv = Pick<Env, "API_KEYS" | "RATE_LIMITER">;

export function edgeLimits(env: LimitEnv): RateLimits {
  return { take: ({ keyId }, numTokens) => takeOf(env, keyId, numTokens) };
}

/** @throws ApiError 429 */
export async function takeOf(env: LimitEnv, keyId: string | null, numTokens: number): Promise<Grant> {
  const limits = limitsOf(env, keyId);
  if (limits === null || keyId === null) return NO_GRANT;
  const { states, refusedBy, retryAfterMs } = await env.RATE_LIMITER.getByName(keyId).take(limits, numTokens);
  const headers = limitHeaders(states);
  if (refusedBy !== null) throw rateLimited(refusedBy, limits[refusedBy]!, retryAfterMs / 1000, headers);
  let isSettled = false;
  return {
    headers,
    settle: async (numUsed) => {
      if (isSettled) return;
      isSettled = true;
      await settle(env, keyId, numTokens, numUsed);
    },
  };
}

/** Puts an estimate right. Never rejects: a limit that is a little off is no reason to fail an answer. */
export async function settle(env: LimitEnv, keyId: string, numTaken: number, numUsed: number): Promise<void> {
  const limits = limitsOf(env, keyId);
  if (limits === null || limits.tokens === null) return;
  const surplus = reservedTokens(limits, numTaken) - numUsed;
  if (surplus === 0) return;
  try {
    await env.RATE_LIMITER.getByName(keyId).settle(limits, surplus);
  } catch (cause) {
    console.error(`The tokens of the key ${keyId} could not be put right by ${surplus}:`, cause);
  }
}

function limitsOf(env: LimitEnv, keyId: string | null): KeyLimits | null {
  const key = keyOf(env, keyId);
  if (key === null) return null;
  const { requestsPerMinute: requests, tokensPerMinute: tokens } = key;
  return requests === null && tokens === null ? null : { requests, tokens };
}

export function keyOf(env: LimitEnv, keyId: string | null): ApiKey | null {
  return apiKeysOf(env).find(({ id }) => id === keyId) ?? null;
}
