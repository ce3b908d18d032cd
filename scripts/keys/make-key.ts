/** A new key: 256 random bits as text, and what a Worker may know of it. */
import { createHash, randomBytes } from "node:crypto";
import { type ApiKey, KEY_PREFIX, keyIdOf } from "../../src/edge/keys/api-keys.ts";
import { UsageError } from "../model/errors.ts";

const KEY_BYTES = 32;
const DAY_MS = 24 * 60 * 60 * 1000;

export interface KeyWish {
  name: string;
  models: string | undefined;
  requestsPerMinute: string | undefined;
  tokensPerMinute: string | undefined;
  expires: string | undefined;
}

export function makeKey(wish: KeyWish, nowMs: number): { text: string; key: ApiKey } {
  const text = `${KEY_PREFIX}${randomBytes(KEY_BYTES).toString("base64url")}`;
  const sha256 = createHash("sha256").update(text).digest("hex");
  const key = {
    id: keyIdOf(sha256),
    name: nameOf(wish.name),
    sha256,
    models: modelsOf(wish.models),
    requestsPerMinute: perMinute("--requests-per-minute", wish.requestsPerMinute),
    tokensPerMinute: perMinute("--tokens-per-minute", wish.tokensPerMinute),
    expiresAt: expiryOf(wish.expires, nowMs),
    createdAt: new Date(nowMs).toISOString(),
  };
  return { text, key };
}

function nameOf(name: string): string {
  // No quote: the list of keys stands between two of them in `.dev.vars`.
  if (/^[\p{L}\p{N} ._@+-]{1,100}$/u.test(name)) return name;
  throw new UsageError(`The name '${name}' must be 1 to 100 letters, digits, spaces and any of . _ @ + -`);
}

function modelsOf(list: string | undefined): string[] | null {
  if (list === undefined || list === "*") return null;
  const models = list.split(",").map((model) => model.trim());
  if (models.every((model) => /^[^\s'"]+$/.test(model))) return models;
  throw new UsageError(`--models is '${list}'; it must be names with commas between, or * for all.`);
}

function perMinute(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= 1) return value;
  throw new UsageError(`${option} is '${text}'; it must be a whole number from 1 to 999999999.`);
}

function expiryOf(text: string | undefined, nowMs: number): string | null {
  if (text === undefined) return null;
  const days = /^(\d{1,4})d$/.exec(text)?.[1];
  const atMs = days === undefined ? Date.parse(text) : nowMs + Number(days) * DAY_MS;
  if (Number.isFinite(atMs) && atMs > nowMs) return new Date(atMs).toISOString();
  throw new UsageError(
    `--expires is '${text}'; it must be a number of days such as 90d, or a date to come such as 2027-06-30.`,
  );
}
