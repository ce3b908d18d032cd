/** What the parts of a schema share while it is compiled: references, bounds, and how to refuse. */
import { type ApiError, invalidRequest } from "../../../protocol/errors.ts";
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX } from "../../../protocol/limits.ts";
import { type Rule, rule } from "../expression.ts";

/** A schema and where it stands. */
export interface Located {
  schema: unknown;
  /** In dotted form, from the request's field on. */
  path: string;
}

const NAME_CHARS_MAX = 60;

export class SchemaContext {
  readonly #root: unknown;
  readonly #param: string;
  readonly #rules = new Map<string, Rule>();
  /** Referred to, and not compiled yet. */
  readonly #pending: { rule: Rule; target: Located }[] = [];
  #numNodes = 0;

  constructor(root: unknown, param: string) {
    this.#root = root;
    this.#param = param;
  }

  /** @throws ApiError (400) where the schema is too large or too deep */
  enter(path: string, depth: number): void {
    if (++this.#numNodes > SCHEMA_NODES_MAX) {
      throw this.refuse(path, `comes after ${SCHEMA_NODES_MAX} schemas, and that is the limit`, "schema_too_large");
    }
    if (depth > SCHEMA_DEPTH_MAX) {
      throw this.refuse(
        path,
        `lies more than ${SCHEMA_DEPTH_MAX} levels deep, and that is the limit`,
        "schema_too_large",
      );
    }
  }

  /** The rule of a reference; its body is compiled later, so that it may refer to itself. */
  ruleOf(reference: unknown, path: string): Rule {
    const key = String(reference);
    const known = this.#rules.get(key);
    if (known !== undefined) return known;
    const target = this.resolve(reference, path);
    const made = rule(key);
    this.#rules.set(key, made);
    this.#pending.push({ rule: made, target });
    return made;
  }

  nextPending(): { rule: Rule; target: Located } | undefined {
    return this.#pending.pop();
  }

  /** Only pointers into this schema: `#`, `#/$defs/name`. */
  resolve(reference: unknown, path: string): Located {
    if (typeof reference !== "string" || !/^#(\/|$)/.test(reference)) {
      throw this.refuse(path, "refers to something outside of this schema; use '#/$defs/NAME'");
    }
    let at: unknown = this.#root;
    for (const part of reference.slice(2).split("/")) {
      if (reference.length <= 2) break;
      const name = decoded(part).replaceAll("~1", "/").replaceAll("~0", "~");
      at = Array.isArray(at) ? at[Number(name)] : ownValue(objectOf(at), name);
    }
    if (at === undefined)
      throw this.refuse(path, "refers to something that this schema does not have", "invalid_schema");
    const names = reference.length <= 2 ? [] : reference.slice(2).split("/");
    return { schema: at, path: names.reduce(pathTo, this.#param) };
  }

  /** @param what goes on behind the path: "is …", "has …" */
  refuse(path: string, what: string, code = "unsupported_schema"): ApiError {
    return invalidRequest(`'${path}' ${what}.`, path, code);
  }
}

export function pathTo(path: string, name: string | number): string {
  const text = String(name);
  return `${path}.${text.length > NAME_CHARS_MAX ? `${text.slice(0, NAME_CHARS_MAX)}…` : text}`;
}

export function ownValue(object: JsonObject | null, name: string): unknown {
  return object !== null && Object.hasOwn(object, name) ? object[name] : undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
