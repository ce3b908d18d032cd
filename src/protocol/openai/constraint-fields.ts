/**
 * What an answer must match, in every notation that clients use: OpenAI's `response_format`, vLLM's `structured_outputs`
 * and its older `guided_*` fields, llama.cpp's `grammar` and `json_schema`. One of them in a request: two would have to
 * hold together, and no server means that.
 */

import * as z from "zod";
import { type ApiError, invalidRequest, unsupportedParameter } from "../errors.ts";
import type { Constraint } from "../generate.ts";
import { lazily } from "../lazily.ts";
import {
  CONSTRAINT_CHARS_MAX,
  ENUM_VALUES_MAX,
  GRAMMAR_CHARS_MAX,
  IDENTIFIER_CHARS_MAX,
  PATTERN_CHARS_MAX,
  SCHEMA_JSON_DEPTH_MAX,
  TEXT_CHARS_MAX,
} from "../limits.ts";
import type { JsonBounds } from "./json-bounds.ts";
import { checkCount, dotted, validate } from "./validate.ts";

const schemaObject = z.record(z.string(), z.unknown());
/** vLLM takes a schema as JSON text, too. */
const schemaOrText = z.union([schemaObject, z.string().max(TEXT_CHARS_MAX)]);
const pattern = z.string().max(PATTERN_CHARS_MAX);
const choices = z.array(z.string()).min(1).max(ENUM_VALUES_MAX);
const grammar = z.string().max(GRAMMAR_CHARS_MAX);

const FORMATS = ["text", "json_object", "json_schema"] as const;
const formatType = z.object({ type: z.enum(FORMATS) });
/** `schema` is llama.cpp's. */
const objectFormat = z.object({ type: z.literal("json_object"), schema: schemaObject.nullish() });
const schemaFormat = z.object({
  type: z.literal("json_schema"),
  json_schema: z.object({
    name: z.string().max(IDENTIFIER_CHARS_MAX).nullish(),
    description: z.string().max(TEXT_CHARS_MAX).nullish(),
    /** Absent = any object. */
    schema: schemaObject.nullish(),
    /** Every schema is enforced, strict or not. */
    strict: z.boolean().nullish(),
  }),
});
/** Each is decoded by hand; here for documentation. */
export const constraintShape = lazily(() => ({
  response_format: z.union([z.object({ type: z.literal("text") }), objectFormat, schemaFormat]).nullish(),
  structured_outputs: z
    .object({
      json: schemaOrText.nullish(),
      json_object: z.boolean().nullish(),
      regex: pattern.nullish(),
      choice: choices.nullish(),
      grammar: grammar.nullish(),
    })
    .nullish(),
  guided_json: schemaOrText.nullish(),
  guided_regex: pattern.nullish(),
  guided_choice: choices.nullish(),
  guided_grammar: grammar.nullish(),
  /** llama.cpp's; "" asks for nothing. */
  grammar: grammar.nullish(),
  json_schema: schemaObject.nullish(),
}));

type Path = readonly PropertyKey[];
interface Found {
  path: Path;
  constraint: Constraint;
}

/** @returns null where any text will do */
export function decodeConstraint(body: Record<string, unknown>, bounds: JsonBounds): Constraint | null {
  const found = [...ofResponseFormat(body.response_format), ...ofStructuredOutputs(body.structured_outputs)];
  for (const [field, kind] of FIELDS) {
    const value = body[field];
    if (value != null && !(field === "grammar" && value === "")) found.push(constraintOf(kind, value, [field]));
  }
  const [first, second] = found;
  if (first === undefined) return null;
  if (second !== undefined) throw twoConstraints(first, second);
  return boundedConstraint(first.constraint, first.path, bounds);
}

/** @param path where the client wrote it @throws ApiError 400 where it is too large */
export function boundedConstraint(constraint: Constraint, path: Path, bounds: JsonBounds): Constraint {
  if (constraint.kind === "schema") bounds.check(constraint.schema, path, SCHEMA_JSON_DEPTH_MAX);
  const numChars = JSON.stringify(constraint).length;
  if (numChars > CONSTRAINT_CHARS_MAX) throw tooLong(path, numChars);
  return constraint;
}

/** Each is validated where it is found, so that the error names the field that the client wrote. */
type Kind = "schema" | "regex" | "choice" | "grammar";
const FIELDS: readonly [field: string, kind: Kind][] = [
  ["guided_json", "schema"],
  ["guided_regex", "regex"],
  ["guided_choice", "choice"],
  ["guided_grammar", "grammar"],
  ["grammar", "grammar"],
  ["json_schema", "schema"],
];

function ofResponseFormat(value: unknown): Found[] {
  if (value == null) return [];
  const path: Path = ["response_format"];
  const { type } = validate(formatType, value, path);
  if (type === "text") return [];
  const isOpenAis = type === "json_schema";
  const schema = isOpenAis
    ? validate(schemaFormat, value, path).json_schema.schema
    : validate(objectFormat, value, path).schema;
  if (schema == null) return [{ path, constraint: { kind: "json" } }];
  const schemaPath = [...path, ...(isOpenAis ? ["json_schema", "schema"] : ["schema"])];
  return [{ path: schemaPath, constraint: { kind: "schema", schema } }];
}

function ofStructuredOutputs(value: unknown): Found[] {
  if (value == null) return [];
  const path: Path = ["structured_outputs"];
  const fields = validate(z.looseObject({}), value, path);
  if (fields.structural_tag != null) throw unsupportedParameter(dotted([...path, "structural_tag"]));
  const found: Found[] = [];
  if (fields.json != null) found.push(constraintOf("schema", fields.json, [...path, "json"]));
  for (const kind of ["regex", "choice", "grammar"] as const) {
    if (fields[kind] != null) found.push(constraintOf(kind, fields[kind], [...path, kind]));
  }
  const isObject = validate(z.boolean().nullish(), fields.json_object, [...path, "json_object"]);
  if (isObject === true) found.push({ path: [...path, "json_object"], constraint: { kind: "json" } });
  if (found.length > 0) return found;
  const param = dotted(path);
  throw invalidRequest(`'${param}' must have one of json, json_object, regex, choice and grammar.`, param);
}

function constraintOf(kind: Kind, value: unknown, path: Path): Found {
  switch (kind) {
    case "schema": {
      const schema = validate(schemaOrText, value, path);
      return { path, constraint: { kind, schema: typeof schema === "string" ? parsed(schema, path) : schema } };
    }
    case "regex":
      return { path, constraint: { kind, pattern: validate(pattern, value, path) } };
    case "choice":
      checkCount(value, ENUM_VALUES_MAX, path);
      return { path, constraint: { kind, choices: validate(choices, value, path) } };
    case "grammar":
      return { path, constraint: { kind, text: validate(grammar, value, path) } };
  }
}

function parsed(json: string, path: Path): unknown {
  try {
    return JSON.parse(json);
  } catch {
    const param = dotted(path);
    throw invalidRequest(`'${param}' is a text that is no JSON. Send the schema itself.`, param);
  }
}

function tooLong(path: Path, numChars: number): ApiError {
  const param = dotted(path);
  return invalidRequest(
    `'${param}' makes ${numChars} characters of JSON; the limit is ${CONSTRAINT_CHARS_MAX}. Shorten it.`,
    param,
  );
}

function twoConstraints(first: Found, second: Found): ApiError {
  const [one, other] = [dotted(first.path), dotted(second.path)];
  return invalidRequest(`'${other}' is set beside '${one}', and an answer can match one of them only.`, other);
}
