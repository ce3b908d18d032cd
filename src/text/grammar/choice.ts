/** One of some texts, word for word. */
import { invalidRequest } from "../../protocol/errors.ts";
import { ENUM_CHARS_MAX, ENUM_VALUES_MAX } from "../../protocol/limits.ts";
import { choice, type Expression, literal } from "./expression.ts";

/** @throws ApiError (400) */
export function fromChoices(choices: readonly string[], param: string): Expression {
  checkNumValues(choices.length, param);
  checkNumChars(choices, param);
  return choice(...choices.map(literal));
}

export function checkNumValues(numValues: number, param: string): void {
  if (numValues > 0 && numValues <= ENUM_VALUES_MAX) return;
  throw invalidRequest(
    `'${param}' has ${numValues} values; it may have 1 to ${ENUM_VALUES_MAX}.`,
    param,
    numValues === 0 ? "unsatisfiable_grammar" : "grammar_too_large",
  );
}

export function checkNumChars(texts: readonly string[], param: string): void {
  let numChars = 0;
  for (const text of texts) numChars += text.length;
  if (numChars <= ENUM_CHARS_MAX) return;
  throw invalidRequest(
    `'${param}' has values of ${numChars} characters together; the limit is ${ENUM_CHARS_MAX}.`,
    param,
    "grammar_too_large",
  );
}
