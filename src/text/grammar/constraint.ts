/** Every kind of constraint, by the front end that reads it. */
import type { Constraint } from "../../protocol/generate.ts";
import { fromChoices } from "./choice.ts";
import type { Expression } from "./expression.ts";
import { fromGbnf } from "./gbnf.ts";
import { OBJECT } from "./json-text.ts";
import { fromRegex } from "./regex.ts";
import { fromSchema } from "./schema/schema.ts";

/**
 * A constraint as a part of something larger, or as the whole.
 *
 * @param param the request's field, for errors
 * @throws ApiError (400) that names what cannot be enforced
 */
export function fromConstraint(constraint: Constraint, param: string): Expression {
  switch (constraint.kind) {
    case "json":
      return OBJECT;
    case "schema":
      return fromSchema(constraint.schema, param);
    case "regex":
      return fromRegex(constraint.pattern, {
        param,
        character: (ranges) => ({ kind: "char", ranges }),
        isSearch: false,
      });
    case "choice":
      return fromChoices(constraint.choices, param);
    case "grammar":
      return fromGbnf(constraint.text, param);
  }
}
