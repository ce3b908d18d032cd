/**
 * Runs a schema and turns its first complaint into the one error a client sees: `param` as a dotted path, and in the
 * message what was expected, what came and the limit.
 *
 * zod collects a complaint for every bad entry of a list, so a list goes through `checkCount` before its schema runs:
 * otherwise 2 MB of bad entries would grow to hundreds of megabytes of complaints.
 */

import * as z from "zod";
import { type ApiError, invalidRequest } from "../errors.ts";

// workerd forbids `eval` and `new Function`; set here since every schema runs through this file.
z.config({ jitless: true });

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

/** Longest piece of a client's own value that a message quotes. */
const QUOTED_CHARS_MAX = 60;

/** @param path of `value` within the request body */
export function validate<T>(schema: z.ZodType<T>, value: unknown, path: Path = []): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw errorOfIssue(result.error.issues[0]!, value, path);
}

const anyObject = z.looseObject({});

/** The body as a JSON object of any fields. */
export function validateObject(body: unknown): Record<string, unknown> {
  return validate(anyObject, body);
}

/** Refuses a list (or map) with more than `max` entries, whatever they are. */
export function checkCount(value: unknown, max: number, path: Path): void {
  if (typeof value !== "object" || value === null) return;
  const count = Array.isArray(value) ? value.length : Object.keys(value).length;
  if (count <= max) return;
  const param = dotted(path);
  throw invalidRequest(`'${param}' may have at most ${max} entries, but has ${count}.`, param);
}

export function dotted(path: Path): string {
  return path.map((key) => String(key).slice(0, QUOTED_CHARS_MAX)).join(".");
}

/** A client's value as a message may show it: short, and nothing of large ones but their kind. */
export function quote(value: unknown): string {
  if (typeof value === "string") {
    return value.length <= QUOTED_CHARS_MAX ? JSON.stringify(value) : `a string of ${value.length} characters`;
  }
  if (Array.isArray(value)) return `a list of ${value.length} entries`;
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}

function errorOfIssue(issue: Issue, root: unknown, path: Path): ApiError {
  const { leaf, leafPath, expected } = innermost(issue);
  const value = valueAt(root, leafPath);
  const param = dotted([...path, ...leafPath]);
  const name = param === "" ? "The request body" : `'${param}'`;
  const text = describe(leaf, expected, value);
  return invalidRequest(
    value === undefined && param !== "" ? `${name} is required: ${text}.` : `${name} ${text}.`,
    param || null,
  );
}

/**
 * The complaint worth telling. A union complains once for each of its branches: where the value has the kind of one
 * branch but is wrong deeper inside, that branch speaks; where it has none of the kinds, they are listed.
 */
function innermost(issue: Issue): { leaf: Issue; leafPath: Path; expected: string[] } {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) {
    return { leaf: issue, leafPath: issue.path, expected: issue.code === "invalid_type" ? [issue.expected] : [] };
  }
  const branches = issue.errors.filter((branch) => branch.length > 0).map((branch) => innermost(branch[0]!));
  const deeper = branches.find((branch) => branch.leafPath.length > 0 || branch.expected.length === 0);
  const path = [...issue.path, ...(deeper?.leafPath ?? [])];
  if (deeper !== undefined) return { ...deeper, leafPath: path };
  return { leaf: branches[0]!.leaf, leafPath: path, expected: branches.flatMap((branch) => branch.expected) };
}

function describe(issue: Issue, expected: string[], value: unknown): string {
  const but = value === undefined ? "" : `, but is ${quote(value)}`;
  switch (issue.code) {
    case "invalid_type":
      return `must be ${expected.map(kindInWords).join(" or ")}${but}`;
    case "invalid_value":
      return `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.map(quote).join(", ")}${but}`;
    case "too_big":
      return isNumeric(issue.origin)
        ? `must be ${issue.inclusive ? "at most" : "less than"} ${issue.maximum}${but}`
        : `may have at most ${issue.maximum} ${unitOf(issue.origin)}, but has ${sizeOf(value)}`;
    case "too_small":
      return isNumeric(issue.origin)
        ? `must be ${issue.inclusive ? "at least" : "greater than"} ${issue.minimum}${but}`
        : `must have at least ${issue.minimum} ${unitOf(issue.origin)}, but has ${sizeOf(value)}`;
    default:
      return `${issue.message}${but}`;
  }
}

function kindInWords(expected: string): string {
  const words: Record<string, string> = {
    array: "a list",
    int: "an integer",
    object: "a JSON object",
    record: "a JSON object",
    boolean: "true or false",
  };
  return words[expected] ?? `a ${expected}`;
}

function isNumeric(origin: string): boolean {
  return origin === "number" || origin === "int";
}

function unitOf(origin: string): string {
  return origin === "string" ? "characters" : "entries";
}

function sizeOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : Object.keys(value ?? {}).length;
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
