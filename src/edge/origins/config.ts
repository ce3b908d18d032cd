/**
 * The variable ORIGINS: servers that answer for models which do not fit an isolate. All of them are equals behind
 * OpenAI's API; `kind` only says what else one understands.
 *
 * Messages about a wrong value name its place and never quote it: keys may be part of it.
 */
import * as z from "zod";
import { MODEL_NAME_CHARS_MAX } from "../../protocol/limits.ts";

/** Each is a place that a request may go to, tried one after another. */
export const ORIGINS_MAX = 32;
export const MODELS_PER_ORIGIN_MAX = 64;
export const WEIGHT_MAX = 1000;

/** A queue and a long prompt before the first token: longer than that, and nobody waits any more. */
const FIRST_BYTE_MS = 60_000;
/** Between two tokens of an answer that runs. */
const BETWEEN_BYTES_MS = 30_000;
const TIMEOUT_MS_MAX = 600_000;

/**
 * "runnel" and "vllm" know vLLM's `cache_salt` and `continue_final_message`; "workers-ai" is the binding AI, which has
 * neither an address nor a key.
 */
export const ORIGIN_KINDS = ["openai", "runnel", "vllm", "workers-ai"] as const;
export type OriginKind = (typeof ORIGIN_KINDS)[number];

export interface OriginModelConfig {
  /** Name that clients use. */
  id: string;
  /** Its name there; absent = the same. */
  upstream?: string | undefined;
  contextLength?: number | undefined;
  description?: string | undefined;
  /** Model of the edge that answers where no origin can. */
  fallback?: string | undefined;
}

interface ParsedOrigin {
  name: string;
  kind: OriginKind;
  /** Base URL as OpenAI's clients take it. */
  url?: string | undefined;
  models: OriginModelConfig[];
  key?: string | undefined;
  /** Name of the secret that holds the key. */
  keySecret?: string | undefined;
  weight: number;
  firstByteMs: number;
  betweenBytesMs: number;
}

/** `url` has no slash at its end, and is "" for a binding. */
export type OriginConfig = Omit<ParsedOrigin, "url"> & { url: string };

/** The schema is made when it is needed: it takes some 250 KB of an isolate, which a Worker without origins keeps. */
function validated(value: unknown): z.ZodSafeParseResult<ParsedOrigin[]> {
  const modelName = z.string().min(1).max(MODEL_NAME_CHARS_MAX);
  const timeoutMs = z.int().min(1).max(TIMEOUT_MS_MAX);
  const model = z.strictObject({
    id: modelName,
    upstream: modelName.optional(),
    contextLength: z.int().min(1).optional(),
    description: z.string().max(500).optional(),
    fallback: modelName.optional(),
  });
  const origin = z.strictObject({
    name: z.string().regex(/^[\w.-]{1,64}$/, "must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"),
    kind: z.enum(ORIGIN_KINDS).default("openai"),
    url: z.string().optional(),
    models: z.array(model).min(1).max(MODELS_PER_ORIGIN_MAX),
    key: z.string().min(1).optional(),
    keySecret: z.string().min(1).optional(),
    weight: z.number().gt(0).max(WEIGHT_MAX).default(1),
    firstByteMs: timeoutMs.default(FIRST_BYTE_MS),
    betweenBytesMs: timeoutMs.default(BETWEEN_BYTES_MS),
  });
  return z.array(origin).max(ORIGINS_MAX).safeParse(value);
}

/**
 * @param variable the variable's value: JSON text, or what wrangler made of a list
 * @throws Error that says what is wrong and where
 */
export function parseOrigins(variable: unknown): OriginConfig[] {
  if (variable === undefined || variable === "") return [];
  const result = validated(typeof variable === "string" ? parsedJson(variable) : variable);
  if (!result.success) throw wrong(placeOf(result.error.issues[0]!.path), saidOf(result.error.issues[0]!));
  const names = new Set<string>();
  return result.data.map((origin, i) => {
    const place = `ORIGINS[${i}]`;
    if (names.has(origin.name)) throw wrong(`${place}.name`, `'${origin.name}' is taken by an origin before it`);
    names.add(origin.name);
    checkModels(origin, place);
    return { ...origin, url: baseUrl(origin, place) };
  });
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("The variable ORIGINS is no JSON. It must be a JSON list of origins; see docs/origins.md.");
  }
}

function checkModels({ models }: ParsedOrigin, place: string): void {
  const ids = models.map(({ id }) => id);
  const twice = ids.findIndex((id, i) => ids.indexOf(id) < i);
  if (twice >= 0) throw wrong(`${place}.models[${twice}].id`, `'${ids[twice]}' stands there twice`);
}

function baseUrl({ kind, url, key, keySecret }: ParsedOrigin, place: string): string {
  if (kind === "workers-ai") {
    if (url === undefined && key === undefined && keySecret === undefined) return "";
    throw wrong(place, "is of kind 'workers-ai', which has no url and no key: the binding AI is both");
  }
  if (url === undefined) throw wrong(`${place}.url`, "is missing");
  if (key !== undefined && keySecret !== undefined) throw wrong(place, "has both key and keySecret; it may have one");
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !["http:", "https:"].includes(parsed.protocol)) {
    throw wrong(`${place}.url`, "must be an http or https URL, e.g. https://gpu.example.com/v1");
  }
  if (parsed.username !== "" || parsed.password !== "") {
    throw wrong(`${place}.url`, "must have no user and password; put a key into keySecret");
  }
  if (parsed.search !== "" || parsed.hash !== "") throw wrong(`${place}.url`, "must have no query and no fragment");
  const path = parsed.pathname.replace(/\/+$/, "");
  // A server's bare address means where all of them have their API.
  return `${parsed.origin}${path === "" ? "/v1" : path}`;
}

function placeOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => text + (typeof key === "number" ? `[${key}]` : `.${String(key)}`),
    "ORIGINS",
  );
}

function saidOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be a value of type ${issue.expected}`;
    case "unrecognized_keys":
      return `has fields that nobody knows: ${issue.keys.join(", ")}`;
    case "invalid_value":
      return `must be one of ${issue.values.map((value) => `'${String(value)}'`).join(", ")}`;
    case "too_big":
      return `must be at most ${issue.maximum}, or have at most so many entries or characters`;
    case "too_small":
      return `must be ${issue.inclusive ? "at least" : "more than"} ${issue.minimum}, or have so many entries or characters`;
    case "invalid_format":
      return issue.message;
    default:
      return "is wrong";
  }
}

function wrong(place: string, said: string): Error {
  return new Error(`The variable ORIGINS is wrong: ${place} ${said}. See docs/origins.md.`);
}
