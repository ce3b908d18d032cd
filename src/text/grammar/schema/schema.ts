/**
 * JSON Schema (2020-12 and draft-07, as clients send them) → expressions. Only JSON that the schema describes is written,
 * though not always all of it; `docs/structured-output.md` says what is left out. What cannot be enforced is refused with
 * its path.
 */
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { SCHEMA_JSON_DEPTH_MAX } from "../../../protocol/limits.ts";
import { choice, type Expression, NEVER, ruleRef } from "../expression.ts";
import { isDeeperThan } from "../json-depth.ts";
import { ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING, VALUE } from "../json-text.ts";
import { arrayExpression } from "./arrays.ts";
import { combined } from "./combinators.ts";
import { type Located, pathTo, SchemaContext } from "./context.ts";
import { valuesExpression } from "./enums.ts";
import { isAssertion, KEYWORDS_BY_TYPE, refuseUnsupported, TYPES, type TypeName } from "./keywords.ts";
import { numberExpression } from "./numbers.ts";
import { objectExpression } from "./objects.ts";
import { stringExpression } from "./strings.ts";

/** Compiles a schema inside a schema. */
export type CompileSchema = (located: Located, depth: number) => Expression;

/**
 * @param param the field that the schema came in, for errors
 * @throws ApiError (400)
 */
export function fromSchema(schema: unknown, param: string): Expression {
  const context = new SchemaContext(schema, param);
  if (isDeeperThan(schema, SCHEMA_JSON_DEPTH_MAX)) {
    throw context.refuse(
      param,
      `is nested more than ${SCHEMA_JSON_DEPTH_MAX} levels deep, and that is the limit`,
      "schema_too_large",
    );
  }
  const compiler = new SchemaCompiler(context);
  return compiler.whole({ schema, path: param });
}

class SchemaCompiler {
  readonly #context: SchemaContext;

  constructor(context: SchemaContext) {
    this.#context = context;
  }

  whole(root: Located): Expression {
    const expression = this.compile(root, 0);
    for (let next = this.#context.nextPending(); next !== undefined; next = this.#context.nextPending()) {
      next.rule.body = this.compile(next.target, 0);
    }
    return expression;
  }

  readonly compile: CompileSchema = ({ schema, path }, depth) => {
    this.#context.enter(path, depth);
    if (schema === true) return VALUE;
    if (schema === false) return NEVER;
    const object = objectOf(schema);
    if (object === null)
      throw this.#context.refuse(path, "is no schema; it has to be an object, true or false", "invalid_schema");
    refuseUnsupported(object, path, this.#context);
    if (Object.hasOwn(object, "not")) return this.#not(object, path);
    if (Object.hasOwn(object, "$ref") && this.#isAlone(object, "$ref")) {
      return ruleRef(this.#context.ruleOf(object.$ref, pathTo(path, "$ref")));
    }
    const parts = combined({ schema: object, path }, this.#context);
    if (parts !== null) return choice(...parts.map((part) => this.compile(part, depth + 1)));
    return this.#plain(object, path, depth);
  };

  /** `not: {}` is how some libraries write "nothing". */
  #not(schema: JsonObject, path: string): Expression {
    const inner = objectOf(schema.not);
    if (schema.not === true || (inner !== null && !Object.keys(inner).some(isAssertion) && !("not" in inner)))
      return NEVER;
    throw this.#context.refuse(pathTo(path, "not"), "is a keyword that cannot be enforced here; leave it out");
  }

  #isAlone(schema: JsonObject, keyword: string): boolean {
    return Object.keys(schema).every((key) => key === keyword || !isAssertion(key));
  }

  #plain(schema: JsonObject, path: string, depth: number): Expression {
    if (Object.hasOwn(schema, "enum") || Object.hasOwn(schema, "const")) {
      return valuesExpression(schema, path, this.#context);
    }
    const types = typesOf(schema, path, this.#context);
    if (types === null) return VALUE;
    return choice(...types.map((type) => this.#ofType(type, schema, path, depth)));
  }

  #ofType(type: TypeName, schema: JsonObject, path: string, depth: number): Expression {
    const has = (keywords: readonly string[]) => keywords.some((keyword) => Object.hasOwn(schema, keyword));
    const inner = { schema, path };
    switch (type) {
      case "null":
        return NULL;
      case "boolean":
        return BOOLEAN;
      case "integer":
        return numberExpression(inner, true, this.#context);
      case "number":
        return has(KEYWORDS_BY_TYPE.number) ? numberExpression(inner, false, this.#context) : NUMBER;
      case "string":
        return has(KEYWORDS_BY_TYPE.string) ? stringExpression(inner, this.#context) : STRING;
      case "array":
        return has(KEYWORDS_BY_TYPE.array) ? arrayExpression(inner, this.#context, this.compile, depth) : ARRAY;
      case "object":
        return has(KEYWORDS_BY_TYPE.object) ? objectExpression(inner, this.#context, this.compile, depth) : OBJECT;
    }
  }
}

/** Without `type`, the types that other keywords are about; null = any value. An integer is a number, too. */
export function typesOf(schema: JsonObject, path: string, context: SchemaContext): TypeName[] | null {
  if (schema.type === undefined) {
    const implied = Object.entries(KEYWORDS_BY_TYPE).filter(([, keywords]) =>
      keywords.some((keyword) => Object.hasOwn(schema, keyword)),
    );
    return implied.length === 0 ? null : implied.map(([type]) => type as TypeName);
  }
  const names = Array.isArray(schema.type) ? schema.type : [schema.type];
  const types = TYPES.filter((type) => names.includes(type));
  if (types.length === 0 || !names.every((name) => TYPES.includes(name))) {
    throw context.refuse(pathTo(path, "type"), `has to be of ${TYPES.join(", ")}`, "invalid_schema");
  }
  return types.includes("number") ? types.filter((type) => type !== "integer") : types;
}
