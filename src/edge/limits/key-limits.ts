/** The two limits of one key, taken together or not at all. Pure. */
import { type Bucket, fullBucket, refilled, resetMs, taken, waitMs } from "./token-bucket.ts";

/** A minute's worth; null = any number. */
export interface KeyLimits {
  requests: number | null;
  tokens: number | null;
}

export interface LimitBuckets {
  requests: Bucket | null;
  tokens: Bucket | null;
}

export type LimitKind = keyof KeyLimits;

/** What is left of one limit. */
export interface LimitState {
  limit: number;
  remaining: number;
  resetMs: number;
}

export interface LimitDecision {
  buckets: LimitBuckets;
  states: Record<LimitKind, LimitState | null>;
  /** The limit that has no room; null = what was asked for is taken. */
  refusedBy: LimitKind | null;
  /** Until it has. */
  retryAfterMs: number;
}

export const NO_BUCKETS: LimitBuckets = { requests: null, tokens: null };

/** A request that asks for more than a minute's tokens gets in with a full bucket, and pays for what it really takes. */
export function decide(
  before: LimitBuckets,
  limits: KeyLimits,
  cost: Record<LimitKind, number>,
  nowMs: number,
): LimitDecision {
  const now = bucketsNow(before, limits, nowMs);
  const waits = kinds.map((kind) => waitOf(now[kind], limits[kind], cost[kind]));
  const retryAfterMs = Math.max(...waits);
  if (retryAfterMs > 0) {
    const refusedBy = kinds[waits.indexOf(retryAfterMs)]!;
    return { buckets: now, states: statesOf(now, limits), refusedBy, retryAfterMs };
  }
  const buckets = {
    requests: without(now.requests, limits.requests, cost.requests),
    tokens: without(now.tokens, limits.tokens, reservedTokens(limits, cost.tokens)),
  };
  return { buckets, states: statesOf(buckets, limits), refusedBy: null, retryAfterMs: 0 };
}

/** What a request that was let in has taken of its tokens. */
export function reservedTokens({ tokens }: KeyLimits, numTokens: number): number {
  return tokens === null ? 0 : Math.min(numTokens, tokens);
}

/** @param surplus tokens that were set aside and not used; below zero = used and not set aside */
export function settled(before: LimitBuckets, limits: KeyLimits, surplus: number, nowMs: number): LimitBuckets {
  const now = bucketsNow(before, limits, nowMs);
  return { ...now, tokens: without(now.tokens, limits.tokens, -surplus) };
}

const kinds = ["requests", "tokens"] as const;

function bucketsNow(before: LimitBuckets, limits: KeyLimits, nowMs: number): LimitBuckets {
  const bucket = (kind: LimitKind) => {
    const capacity = limits[kind];
    if (capacity === null) return null;
    return refilled(before[kind] ?? fullBucket(capacity, nowMs), capacity, nowMs);
  };
  return { requests: bucket("requests"), tokens: bucket("tokens") };
}

function waitOf(bucket: Bucket | null, capacity: number | null, amount: number): number {
  return bucket === null || capacity === null ? 0 : waitMs(bucket, capacity, amount);
}

function without(bucket: Bucket | null, capacity: number | null, amount: number): Bucket | null {
  return bucket === null || capacity === null ? null : taken(bucket, capacity, amount);
}

function statesOf(buckets: LimitBuckets, limits: KeyLimits): Record<LimitKind, LimitState | null> {
  const state = (kind: LimitKind): LimitState | null => {
    const [bucket, limit] = [buckets[kind], limits[kind]];
    if (bucket === null || limit === null) return null;
    return { limit, remaining: Math.max(0, Math.floor(bucket.level)), resetMs: resetMs(bucket, limit) };
  };
  return { requests: state("requests"), tokens: state("tokens") };
}
