/** `ApiError` as TGI tells it: a sentence and one of TGI's kinds, whose statuses are its own for some faults. */
import type { ApiError } from "../errors.ts";

export interface TgiErrorBody {
  error: string;
  error_type: string;
}

/** [status here, TGI's status, its kind] */
const KINDS: readonly [status: number, tgiStatus: number, errorType: string][] = [
  [400, 422, "validation"],
  [429, 429, "overloaded"],
  [500, 500, "incomplete_generation"],
  [502, 424, "generation"],
  [503, 503, "unhealthy"],
  [504, 424, "generation"],
];

export function tgiErrorBody(error: ApiError): TgiErrorBody {
  return { error: error.message, error_type: kindOf(error)[2] };
}

export function tgiStatus(error: ApiError): number {
  return kindOf(error)[1];
}

/** What TGI has no word for (no such path, a body that is too large …) is about the request. */
function kindOf({ status }: ApiError): (typeof KINDS)[number] {
  return KINDS.find(([ours]) => ours === status) ?? [status, status, "validation"];
}
