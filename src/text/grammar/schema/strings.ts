/** `string` with its length, pattern and format. */
import { invalidRequest } from "../../../protocol/errors.ts";
import type { JsonObject } from "../../../protocol/json-values.ts";
import { type Expression, NEVER, repeat } from "../expression.ts";
import { intersect } from "../intersection.ts";
import { quoted, STRING, STRING_CHARACTER, stringCharacter } from "../json-text.ts";
import { fromRegex } from "../regex.ts";
import { pathTo, type SchemaContext } from "./context.ts";
import { formatPattern, isRefusedFormat } from "./formats.ts";
import { KeywordReader } from "./read.ts";

export function stringExpression(
  { schema, path }: { schema: JsonObject; path: string },
  context: SchemaContext,
): Expression {
  const content = stringContent(new KeywordReader(schema, path, context));
  return content === null ? STRING : content.kind === "never" ? NEVER : quoted(content);
}

/** What stands between the quotes; null = anything. */
function stringContent(reader: KeywordReader): Expression | null {
  const { path } = reader;
  const parts: Expression[] = [];
  const pattern = reader.string("pattern");
  const format = formatOf(reader);
  if (format !== null) parts.push(inString(format, pathTo(path, "format")));
  // A format with the pattern that a library adds for it: the format alone keeps to both.
  if (pattern !== null && !(format !== null && isPatternOfFormat(pattern))) {
    parts.push(inString(pattern, pathTo(path, "pattern")));
  }
  const min = reader.count("minLength") ?? 0;
  const max = reader.count("maxLength");
  if (max !== null && max < min) return NEVER;
  if (min > 0 || max !== null) parts.push(repeat(STRING_CHARACTER, min, max));
  if (parts.length === 0) return null;
  return parts.reduce((all, part) => {
    const both = intersect(all, part);
    if (both !== null) return both;
    throw invalidRequest(
      `'${path}' has several of pattern, format, minLength and maxLength, and together they are too large to enforce. ` +
        "Leave one out, or put the length into the pattern.",
      path,
      "unsupported_schema",
    );
  });
}

function inString(pattern: string, param: string): Expression {
  return fromRegex(pattern, { param, character: stringCharacter, isSearch: true });
}

/** Formats of nobody are notes. */
function formatOf(reader: KeywordReader): string | null {
  const format = reader.string("format");
  if (format === null) return null;
  if (isRefusedFormat(format)) {
    throw reader.context.refuse(pathTo(reader.path, "format"), `is '${format}', which cannot be enforced here`);
  }
  return formatPattern(format);
}

/** zod writes its own pattern beside `format: "email"`, with look-ahead. Ours is narrower. */
function isPatternOfFormat(pattern: string): boolean {
  return pattern === ZOD_EMAIL;
}

const ZOD_EMAIL =
  "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$";
