/** Errors as HTTP responses, and the border between what a client may know and what only the log may. */
import { ApiError, internalError } from "../protocol/errors.ts";
import { errorHeaders } from "../protocol/openai/error-body.ts";
import { errorShapeOf } from "./error-shapes.ts";
import { causeText, type Log } from "./log.ts";

/** @param path of the request, which says in what shape its client reads errors */
export function errorResponse(error: ApiError, path: string, headers: Record<string, string> = {}): Response {
  const shape = errorShapeOf(path);
  return Response.json(shape.body(error), {
    status: shape.status(error),
    headers: { ...errorHeaders(error), ...headers },
  });
}

/** Anything but an `ApiError` is a bug: its cause goes to the log, the client learns the request's id. */
export function toApiError(cause: unknown, requestId: string, route: string, log: Log): ApiError {
  if (cause instanceof ApiError) return cause;
  log({ level: "error", event: "internal_error", requestId, route, cause: causeText(cause) });
  return internalError(requestId);
}
