/**
 * Typed look-ups in GGUF metadata. A key that is there with the wrong type or range is an error by name and value,
 * never silently the default.
 */
import { contradiction, ModelError } from "./errors.ts";
import type { GgufHeader, GgufValue } from "./gguf.ts";

export class Metadata {
  readonly #values: ReadonlyMap<string, GgufValue>;
  readonly #sourceName: string;

  constructor(header: GgufHeader, sourceName: string) {
    this.#values = header.metadata;
    this.#sourceName = sourceName;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  string(key: string): string | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value !== "string") throw this.#wrong(key, value, "a string");
    return value;
  }

  /** A finite number, integer or not. */
  number(key: string): number | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.#wrong(key, value, "a finite number");
    return value;
  }

  /** An integer of at least `min`. An array (one value for each layer) is taken where all its values agree. */
  integer(key: string, min: number): number | null {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    const single = ArrayBuffer.isView(value) ? this.#sameForAllLayers(key, value) : value;
    if (typeof single !== "number" || !Number.isInteger(single) || single < min) {
      throw this.#wrong(key, single, `an integer of at least ${min}`);
    }
    return single;
  }

  required<T>(key: string, value: T | null): T {
    if (value !== null) return value;
    throw new ModelError("missing", `${this.#sourceName} has no "${key}", which its architecture needs.`);
  }

  #sameForAllLayers(key: string, value: ArrayBufferView): GgufValue {
    const array = Array.from(value as Uint32Array);
    if (array.length === 0 || array.some((item) => item !== array[0])) {
      throw new ModelError(
        "unsupported_architecture",
        `${this.#sourceName}: "${key}" differs between layers (${preview(array)}); all layers must be alike.`,
      );
    }
    return array[0]!;
  }

  #wrong(key: string, value: GgufValue, expected: string): ModelError {
    return new ModelError(
      "corrupt",
      `${this.#sourceName}: "${key}" is ${describeValue(value)}; it must be ${expected}.`,
    );
  }
}

/** The keys of one architecture, by their names without its prefix. */
export class ModelKeys {
  readonly sourceName: string;
  readonly #meta: Metadata;
  readonly #architecture: string;

  constructor(meta: Metadata, architecture: string, sourceName: string) {
    this.#meta = meta;
    this.#architecture = architecture;
    this.sourceName = sourceName;
  }

  /** As it is in the file, for messages. */
  name(key: string): string {
    return `${this.#architecture}.${key}`;
  }

  has(key: string): boolean {
    return this.#meta.has(this.name(key));
  }

  string(key: string): string | null {
    return this.#meta.string(this.name(key));
  }

  number(key: string): number | null {
    return this.#meta.number(this.name(key));
  }

  integer(key: string, min: number): number | null {
    return this.#meta.integer(this.name(key), min);
  }

  /** An integer of at least 1. */
  required(key: string): number {
    return this.#meta.required(this.name(key), this.integer(key, 1));
  }

  /** A number above 0. @param fallback null: the key must be there */
  positive(key: string, fallback: number | null): number {
    const value = this.#meta.required(this.name(key), this.number(key) ?? fallback);
    if (value <= 0) throw contradiction(this.sourceName, `"${this.name(key)}" is ${value}; it must be more than 0`);
    return value;
  }
}

function preview(array: readonly unknown[]): string {
  return array.length > 8 ? `${array.slice(0, 8).join(", ")}, …` : array.join(", ");
}

function describeValue(value: GgufValue): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return typeof value === "object" ? `an array of ${value.length} values` : String(value);
}
