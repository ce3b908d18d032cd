/** `ApiError` as OpenAI's error object (all four keys always, `code` a string or null) and the headers that go with it. */
import type { ApiError } from "../errors.ts";
import { SSE_DONE, sseData } from "../sse.ts";

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export function errorBody(error: ApiError): ErrorBody {
  const { message, type, param, code } = error;
  return { error: { message, type, param, code } };
}

/** Statuses that OpenAI's clients retry by themselves although here the same request fails again at once: a busy
 * session waits for a person or an answer, and what is not built stays so. */
const PERMANENT_STATUSES: readonly number[] = [409, 501];
const UNAUTHORIZED = 401;
const TOO_MANY = 429;

/** Both retry headers: some clients read only one of them. */
export function errorHeaders(error: ApiError): Record<string, string> {
  const { status, retryAfterS } = error;
  const headers: Record<string, string> = { ...error.headers };
  if (retryAfterS !== null) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterS)));
    headers["retry-after-ms"] = String(Math.ceil(retryAfterS * 1000));
  }
  // A 429 that names no time passes only when somebody lets go of something.
  const isPermanent = PERMANENT_STATUSES.includes(status) || (status === TOO_MANY && retryAfterS === null);
  if (isPermanent) headers["x-should-retry"] = "false";
  if (status === UNAUTHORIZED) headers["www-authenticate"] = "Bearer";
  return headers;
}

/** A fault after the 200: the only way left to tell. */
export function errorChunk(error: ApiError): string {
  return sseData(errorBody(error)) + SSE_DONE;
}
