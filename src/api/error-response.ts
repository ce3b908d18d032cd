/** Errors as HTTP responses, and the border between what a client may know and what only the log may. */
import { ApiError, internalError } from "../protocol/errors.ts";
import { errorBody, errorHeaders } from "../protocol/openai/error-body.ts";
import { causeText, type Log } from "./log.ts";

export function errorResponse(error: ApiError, headers: Record<string, string> = {}): Response {
  return Response.json(errorBody(error), { status: error.status, headers: { ...errorHeaders(error), ...headers } });
}

/** Anything but an `ApiError` is a bug: its cause goes to the log, the client learns the request's id. */
export function toApiError(cause: unknown, requestId: string, route: string, log: Log): ApiError {
  if (cause instanceof ApiError) return cause;
  log({ level: "error", event: "internal_error", requestId, route, cause: causeText(cause) });
  return internalError(requestId);
}
