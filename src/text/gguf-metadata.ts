/** Typed reading of the tokenizer keys of a GGUF header; a key of the wrong kind is named. */
import { ModelError } from "../model/errors.ts";
import type { GgufHeader } from "../model/gguf.ts";

export class TokenizerMetadata {
  readonly #metadata: GgufHeader["metadata"];

  constructor(metadata: GgufHeader["metadata"]) {
    this.#metadata = metadata;
  }

  string(key: string): string | null {
    const value = this.#metadata.get(key);
    if (value === undefined) return null;
    if (typeof value !== "string") throw wrongKind(key, "a string", value);
    return value;
  }

  boolean(key: string): boolean | null {
    const value = this.#metadata.get(key);
    if (value === undefined) return null;
    if (typeof value !== "boolean") throw wrongKind(key, "a boolean", value);
    return value;
  }

  /** A token id; null where it is absent or outside the vocabulary, as converters write −1 for "none". */
  tokenId(key: string, vocabSize: number): number | null {
    const value = this.#metadata.get(key);
    if (value === undefined) return null;
    if (typeof value !== "number" && typeof value !== "bigint") throw wrongKind(key, "a number", value);
    return value >= 0 && value < vocabSize ? Number(value) : null;
  }

  strings(key: string): readonly string[] {
    const value = this.#metadata.get(key);
    if (value === undefined)
      throw new ModelError("missing", `The file has no '${key}', so its text cannot be tokenized.`);
    if (!isStrings(value)) throw wrongKind(key, "an array of strings", value);
    return value;
  }

  /** One number for each token, or null where the key is absent. */
  numbersPerToken(key: string, vocabSize: number): ArrayLike<number> | null {
    const value = this.#metadata.get(key);
    if (value === undefined) return null;
    const isNumbers = ArrayBuffer.isView(value) && !(value instanceof BigInt64Array || value instanceof BigUint64Array);
    if (!isNumbers) throw wrongKind(key, "an array of numbers", value);
    if (value.length < vocabSize) {
      throw new ModelError("corrupt", `'${key}' has ${value.length} entries for a vocabulary of ${vocabSize} tokens.`);
    }
    return value;
  }
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function wrongKind(key: string, wanted: string, value: unknown): ModelError {
  const found = Array.isArray(value) ? "an array" : ArrayBuffer.isView(value) ? value.constructor.name : typeof value;
  return new ModelError("corrupt", `'${key}' has to be ${wanted} and is ${found}.`);
}
