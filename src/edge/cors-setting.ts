/**
 * The operator's say in whose pages may use the API: the variable CORS_ORIGINS. Without it, any page may where a key is
 * needed, since no page has one that nobody gave it. Where none is, only pages of this machine may: any page in the world
 * can make a browser ask localhost.
 */
import { type CorsPolicy, corsPolicy, LOOPBACK_ORIGINS, parseOrigins } from "../api/cors-policy.ts";
import type { Env } from "./env.ts";
import { apiKeysOf } from "./keys/api-keys.ts";

/** @throws Error for what is no list of origins */
export function corsPolicyOf(env: Pick<Env, "CORS_ORIGINS" | "API_KEYS">): CorsPolicy {
  const { CORS_ORIGINS: list } = env;
  if (list) return corsPolicy(parseOrigins(list));
  return apiKeysOf(env).length > 0 ? "any" : corsPolicy(LOOPBACK_ORIGINS);
}
