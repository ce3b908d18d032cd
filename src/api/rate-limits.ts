/** A key's limits as the routes see them. */
import type { Caller } from "./caller.ts";

/** What a request took off its key's limits before it began. */
export interface Grant {
  /** `x-ratelimit-*`. */
  headers: Record<string, string>;
  /** Puts the estimate right, once. Never rejects. @param numTokens that it took after all */
  settle(numTokens: number): Promise<void>;
}

export interface RateLimits {
  /**
   * @param numTokens that it may take, as far as anybody knows before it began
   * @throws ApiError 429 where the limits have no room for it, with what is left of them among its headers
   */
  take(caller: Caller, numTokens: number): Promise<Grant>;
}

export const NO_GRANT: Grant = { headers: {}, settle: async () => {} };
