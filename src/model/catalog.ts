/**
 * The catalog: a small JSON manifest beside each model file, so that listing models never opens one. The same form lies
 * in the static assets (`/models/demo.json`) and in R2 (`models/<id>.json`). A manifest is written after its file and
 * deleted before it, so a model that is listed is whole.
 */
import { MODEL_CAPABILITIES, type ModelCapability } from "../protocol/model-info.ts";
import { ModelError } from "./errors.ts";

export interface ModelManifest {
  /** What requests call it; see `MODEL_ID_RULE`. */
  id: string;
  /** For people. */
  name: string;
  description: string | null;
  /** The GGUF file, as a path under `models/`. */
  file: string;
  sizeBytes: number;
  /** Of the file, in hex. */
  sha256: string;
  /** As the file says; memory may allow less. */
  contextLength: number;
  parameters: number | null;
  /** The type of most weights, such as "Q4_0". */
  quantization: string | null;
  architecture: string | null;
  /** SPDX id where the file or its maker says. */
  license: string | null;
  /** null where it was added before this was asked. */
  capabilities: ModelCapability[] | null;
  /** ISO 8601. */
  createdAt: string | null;
}

export const MODELS_PREFIX = "models/";
const MANIFEST_SUFFIX = ".json";

/** Fits a URL, an R2 key (1,024 bytes) with room, and a line on the screen. */
export const MODEL_ID_CHARS_MAX = 128;

/** A manifest has a dozen short fields. */
export const MANIFEST_BYTES_MAX = 64 * 1024;

const ID_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** The rule of `isModelId`, for messages. A segment cannot start with a dot, so there is no `..` either. */
export const MODEL_ID_RULE =
  `at most ${MODEL_ID_CHARS_MAX} letters, digits, ".", "_" and "-", in parts divided by "/" that each start with a ` +
  "letter or digit";

export function isModelId(id: string): boolean {
  return id.length <= MODEL_ID_CHARS_MAX && id.split("/").every((segment) => ID_SEGMENT.test(segment));
}

export function manifestKey(id: string): string {
  return `${MODELS_PREFIX}${id}${MANIFEST_SUFFIX}`;
}

/** Key or path of the weights. */
export function modelFileKey(manifest: Pick<ModelManifest, "file">): string {
  return MODELS_PREFIX + manifest.file;
}

/** The id whose manifest has this key, or null where it is another file. */
export function idOfManifestKey(key: string): string | null {
  if (!key.startsWith(MODELS_PREFIX) || !key.endsWith(MANIFEST_SUFFIX)) return null;
  const id = key.slice(MODELS_PREFIX.length, -MANIFEST_SUFFIX.length);
  return isModelId(id) ? id : null;
}

/**
 * @param where for messages: the path or key it came from
 * @throws ModelError `corrupt` naming the field
 */
export function parseManifest(text: string, where: string): ModelManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ModelError("corrupt", `The manifest ${where} is not JSON.`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new ModelError("corrupt", `The manifest ${where} is not a JSON object.`);
  }
  const field = new Fields(json as Record<string, unknown>, where);
  return {
    id: field.required("id", field.matching("id", isModelId, MODEL_ID_RULE)),
    name: field.required("name", field.string("name")),
    description: field.string("description"),
    file: field.required("file", field.matching("file", isModelFile, "a .gguf path without '..'")),
    sizeBytes: field.required("sizeBytes", field.count("sizeBytes")),
    sha256: field.required("sha256", field.matching("sha256", isSha256, "64 hex digits")),
    contextLength: field.required("contextLength", field.count("contextLength")),
    parameters: field.count("parameters"),
    quantization: field.string("quantization"),
    architecture: field.string("architecture"),
    license: field.string("license"),
    capabilities: field.words("capabilities", MODEL_CAPABILITIES),
    createdAt: field.matching("createdAt", isDate, "an ISO 8601 date"),
  };
}

const isModelFile = (file: string) => file.endsWith(".gguf") && file.split("/").every((part) => ID_SEGMENT.test(part));
const isSha256 = (hex: string) => /^[0-9a-f]{64}$/.test(hex);
const isDate = (text: string) => !Number.isNaN(Date.parse(text));

/** Typed look-ups in a manifest; absent and null are the same. */
class Fields {
  readonly #json: Record<string, unknown>;
  readonly #where: string;

  constructor(json: Record<string, unknown>, where: string) {
    this.#json = json;
    this.#where = where;
  }

  required<T>(key: string, value: T | null): T {
    if (value === null) throw new ModelError("corrupt", `The manifest ${this.#where} has no "${key}".`);
    return value;
  }

  string(key: string): string | null {
    return this.matching(key, () => true, "a string");
  }

  matching(key: string, isValid: (value: string) => boolean, expected: string): string | null {
    const value = this.#json[key] ?? null;
    if (value === null) return null;
    if (typeof value !== "string" || !isValid(value)) throw this.#wrong(key, expected);
    return value;
  }

  /** A list of words, each one of `known`. */
  words<T extends string>(key: string, known: readonly T[]): T[] | null {
    const value = this.#json[key] ?? null;
    if (value === null) return null;
    const isKnown = (word: unknown): word is T => known.some((one) => one === word);
    if (!Array.isArray(value) || !value.every(isKnown)) throw this.#wrong(key, `a list of ${known.join(", ")}`);
    return value;
  }

  /** A whole number above 0. */
  count(key: string): number | null {
    const value = this.#json[key] ?? null;
    if (value === null) return null;
    if (!Number.isSafeInteger(value) || (value as number) < 1) throw this.#wrong(key, "a whole number above 0");
    return value as number;
  }

  #wrong(key: string, expected: string): ModelError {
    const value = JSON.stringify(this.#json[key]).slice(0, 80);
    return new ModelError("corrupt", `The manifest ${this.#where} has ${value} as "${key}"; it must be ${expected}.`);
  }
}
