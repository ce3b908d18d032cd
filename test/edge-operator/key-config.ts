/** The API keys of the edge tests that have some: as text, which only tests know, and as the Worker is told of them. */
import { createHash } from "node:crypto";
import { type ApiKey, keyIdOf } from "../../src/edge/keys/api-keys.ts";

export const METRICS_TOKEN = "metrics-token-of-the-edge-tests";

/** Model of the key that is for one only. */
export const ALLOWED_MODEL = "operator-tiny";

const KEYS = {
  anne: {},
  bert: {},
  picky: { models: [ALLOWED_MODEL] },
  expired: { expiresAt: "2020-01-01T00:00:00.000Z" },
  /** Two at once, then one in twenty seconds. */
  slow: { requestsPerMinute: 3 },
  frugal: { tokensPerMinute: 400 },
  socket: { requestsPerMinute: 2 },
  counted: { requestsPerMinute: 1000, tokensPerMinute: 100_000 },
} satisfies Record<string, Partial<ApiKey>>;

export type KeyName = keyof typeof KEYS;

export function keyText(name: KeyName): string {
  return `rk_${name}-${"x".repeat(32)}`;
}

export function keyId(name: KeyName): string {
  return keyIdOf(hashOf(name));
}

export function testKeys(): ApiKey[] {
  const names = Object.keys(KEYS) as KeyName[];
  return names.map((name) => ({
    id: keyId(name),
    name,
    sha256: hashOf(name),
    models: null,
    requestsPerMinute: null,
    tokensPerMinute: null,
    expiresAt: null,
    createdAt: "2026-01-01T00:00:00.000Z",
    ...KEYS[name],
  }));
}

function hashOf(name: KeyName): string {
  return createHash("sha256").update(keyText(name)).digest("hex");
}
