/** Known fields that cannot be honoured, as tables of the wire formats: anything but a neutral value is a 400. */
import { unsupportedParameter } from "./errors.ts";

export interface RefusedField {
  field: string;
  /** Values that ask for nothing; null and absence always do. */
  neutral?: readonly unknown[];
}

/** @param within what `body` is in the request, such as "options"; "" = the whole */
export function refuseFields(body: object, fields: readonly RefusedField[], within = ""): void {
  for (const { field, neutral = [] } of fields) {
    const value: unknown = Object.hasOwn(body, field) ? (body as Record<string, unknown>)[field] : undefined;
    if (value === undefined || value === null || neutral.some((one) => isSame(one, value))) continue;
    throw unsupportedParameter(within === "" ? field : `${within}.${field}`, neutral);
  }
}

/** Equality of the small JSON values above. Compares sizes first, so that a client's large value costs nothing. */
function isSame(neutral: unknown, value: unknown): boolean {
  if (typeof neutral !== "object" || neutral === null) return neutral === value;
  if (typeof value !== "object" || value === null || Array.isArray(neutral) !== Array.isArray(value)) return false;
  const keys = Object.keys(neutral);
  return (
    Object.keys(value).length === keys.length &&
    keys.every((key) => isSame((neutral as Record<string, unknown>)[key], (value as Record<string, unknown>)[key]))
  );
}
