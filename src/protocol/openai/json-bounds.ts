/**
 * Bounds on JSON of a client's own making: schemas of tools, arguments of calls, variables of a template. Whatever walks
 * through such a value later, a template for example, recurses, and looks at each text in it.
 */
import { type ApiError, invalidRequest } from "../errors.ts";
import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from "../limits.ts";
import { dotted } from "./validate.ts";

/** One for each request: all such values of it together are bounded. */
export class JsonBounds {
  #numLeft = JSON_VALUES_MAX;

  /** Without recursion. @throws ApiError 400 where `value` is too deep, or one value too many */
  check(value: unknown, path: readonly PropertyKey[], depthMax = JSON_DEPTH_MAX): void {
    let level: unknown[] = value == null ? [] : [value];
    for (let depth = 0; level.length > 0; depth++) {
      this.#numLeft -= level.length;
      if (this.#numLeft < 0) throw tooMany(path);
      const inner = level.filter((one) => typeof one === "object" && one !== null);
      if (inner.length > 0 && depth === depthMax) throw tooDeep(path, depthMax);
      level = [];
      for (const one of inner) {
        const values = Object.values(one as object);
        if (values.length > this.#numLeft) throw tooMany(path);
        for (const each of values) level.push(each);
      }
    }
  }
}

function tooDeep(path: readonly PropertyKey[], depthMax: number): ApiError {
  const param = dotted(path);
  return invalidRequest(`'${param}' is nested more than ${depthMax} levels deep. Flatten it.`, param);
}

function tooMany(path: readonly PropertyKey[]): ApiError {
  const param = dotted(path);
  return invalidRequest(
    `'${param}' goes beyond the ${JSON_VALUES_MAX} JSON values that tools, arguments of calls and variables of the template ` +
      "may have in one request. Send less of them.",
    param,
  );
}
