/** Keywords' values, or a refusal that says what they have to be. */
import type { JsonObject } from "../../../protocol/json-values.ts";
import { countOf, listOf, numberOf, objectOf, stringOf } from "../../../protocol/json-values.ts";
import { pathTo, type SchemaContext } from "./context.ts";

/** Reads the keywords of one schema; undefined and null where one is absent. */
export class KeywordReader {
  readonly schema: JsonObject;
  readonly path: string;
  readonly context: SchemaContext;

  constructor(schema: JsonObject, path: string, context: SchemaContext) {
    this.schema = schema;
    this.path = path;
    this.context = context;
  }

  has(keyword: string): boolean {
    return Object.hasOwn(this.schema, keyword) && this.schema[keyword] !== undefined;
  }

  count(keyword: string): number | null {
    return this.#read(keyword, countOf, "a whole number from 0");
  }

  number(keyword: string): number | null {
    return this.#read(keyword, numberOf, "a number");
  }

  string(keyword: string): string | null {
    return this.#read(keyword, stringOf, "a text");
  }

  object(keyword: string): JsonObject | null {
    return this.#read(keyword, objectOf, "an object");
  }

  list(keyword: string): unknown[] | null {
    return this.#read(keyword, (value) => (Array.isArray(value) ? listOf(value) : null), "a list");
  }

  #read<T>(keyword: string, read: (value: unknown) => T | null, kind: string): T | null {
    if (!this.has(keyword)) return null;
    const value = read(this.schema[keyword]);
    if (value === null) throw this.context.refuse(pathTo(this.path, keyword), `has to be ${kind}`, "invalid_schema");
    return value;
  }
}
