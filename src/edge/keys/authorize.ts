/**
 * Who may use the Worker: who has a key. Without any keys it is open, but on this machine only: a Worker that somebody
 * deploys without a thought must not be everybody's. A page that makes a browser ask this machine by another name (DNS
 * rebinding) is no loopback either.
 */
import { ANYBODY, type Caller } from "../../api/caller.ts";
import { credentialOf, hexOf, sameBytes, sha256 } from "../../api/credential.ts";
import { unauthorized } from "../../protocol/errors.ts";
import type { Env } from "../env.ts";
import { type ApiKey, apiKeysOf, isExpired } from "./api-keys.ts";

const LOOPBACK = /^(localhost|([a-z0-9-]+\.)*localhost|127(\.\d{1,3}){3}|\[::1\])$/;

type AccessEnv = Pick<Env, "API_KEYS" | "OPEN">;

/** Whoever asks may: no keys, and it is this machine or the operator says so. */
export function isOpen(env: AccessEnv, request: Request): boolean {
  return apiKeysOf(env).length === 0 && (isLoopback(request) || env.OPEN === "1");
}

export function isLoopback(request: Request): boolean {
  return LOOPBACK.test(new URL(request.url).hostname);
}

/** @throws ApiError 401 */
export async function authorize(env: AccessEnv, request: Request, nowMs: number): Promise<Caller> {
  const keys = apiKeysOf(env);
  if (keys.length === 0) {
    if (isOpen(env, request)) return ANYBODY;
    throw unauthorized(
      "This server has no API keys yet, and so it answers on localhost only. Its operator can make one with " +
        "`npm run keys -- create NAME`, or open it to all with the variable OPEN=1.",
    );
  }
  const credential = credentialOf(request);
  if (credential === null) throw unauthorized();
  const key = await findKey(keys, credential);
  if (key === null) throw unauthorized();
  assertCurrent(key, nowMs);
  return { keyId: key.id, models: key.models };
}

/** @throws ApiError 401 */
export function assertCurrent(key: ApiKey, nowMs: number): void {
  if (isExpired(key, nowMs))
    throw unauthorized(`The API key '${key.id}' expired at ${key.expiresAt}. Ask for a new one.`);
}

/** All are compared, whichever fits. */
async function findKey(keys: readonly ApiKey[], credential: string): Promise<ApiKey | null> {
  const given = encoder.encode(hexOf(await sha256(credential)));
  let found: ApiKey | null = null;
  for (const key of keys) if (sameBytes(encoder.encode(key.sha256), given)) found = key;
  return found;
}

const encoder = new TextEncoder();
