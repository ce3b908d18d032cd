/**
 * The API keys that the operator gave out, as the secret API_KEYS lists them: hashes, never keys. They come with the
 * Worker's version, so nobody is asked for them, and a key that is taken off the list is refused by the next version.
 *
 * SHA-256 without salt or stretching is enough: a key is 256 random bits, so there is nothing to guess, and a slow hash
 * would only cost every request its time.
 */
import * as z from "zod";
import type { Env } from "../env.ts";

/** `key_` and the beginning of the hash: it names the key in logs, limits and storage, and nobody can ask with it. */
const KEY_ID = /^key_[0-9a-f]{12}$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;

export const KEY_PREFIX = "rk_";
const NAME_CHARS_MAX = 100;
const LIMIT_MAX = 1_000_000_000;

const perMinute = z.int().min(1).max(LIMIT_MAX).nullable();

const apiKeySchema = z.object({
  id: z.string().regex(KEY_ID),
  name: z.string().min(1).max(NAME_CHARS_MAX),
  sha256: z.string().regex(SHA256_HEX),
  /** null = all. */
  models: z.array(z.string().min(1)).min(1).nullable(),
  /** null = any number. */
  requestsPerMinute: perMinute,
  tokensPerMinute: perMinute,
  /** ISO date; null = never. */
  expiresAt: z.iso.datetime().nullable(),
  createdAt: z.iso.datetime(),
});

export type ApiKey = z.infer<typeof apiKeySchema>;

const apiKeysSchema = z.array(apiKeySchema);

/** @throws Error that names the entry and never shows a hash */
export function parseApiKeys(text: string): ApiKey[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("API_KEYS is not JSON. Write it with `npm run keys`.");
  }
  const parsed = apiKeysSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(
    `API_KEYS is wrong at '${issue!.path.join(".")}': ${issue!.message}. Write it with \`npm run keys\`.`,
  );
}

export function keyIdOf(sha256Hex: string): string {
  return `key_${sha256Hex.slice(0, 12)}`;
}

export function isExpired({ expiresAt }: ApiKey, nowMs: number): boolean {
  return expiresAt !== null && Date.parse(expiresAt) <= nowMs;
}

const none: readonly ApiKey[] = [];
let parsed: { text: string; keys: readonly ApiKey[] } | null = null;

/** Empty = the Worker has none. Parsed once for each version. @throws Error see `parseApiKeys` */
export function apiKeysOf({ API_KEYS: text }: Pick<Env, "API_KEYS">): readonly ApiKey[] {
  if (text === undefined || text === "") return none;
  if (parsed?.text !== text) parsed = { text, keys: parseApiKeys(text) };
  return parsed.keys;
}
