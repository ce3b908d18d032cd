/**
 * Errors across an RPC border. Durable Object RPC carries an Error's message but not its class or fields, so a refusal
 * with a status travels as a value and becomes an `ApiError` again on the other side. What is no `ApiError` is a bug:
 * its cause is logged under the request's id where it happened, and the caller learns the id only.
 */
import { ApiError, type ApiErrorFields, errorFields, internalError } from "../protocol/errors.ts";

export type RpcResult<T> = { ok: true; value: T } | { ok: false; error: ApiErrorFields };

/** @param requestId names the request in the log and in the 500 of an unexpected error */
export async function capture<T>(requestId: string, run: () => T | Promise<T>): Promise<RpcResult<T>> {
  try {
    return { ok: true, value: await run() };
  } catch (cause) {
    return { ok: false, error: errorFields(toApiError(requestId, cause)) };
  }
}

export function unwrap<T>(result: RpcResult<T>): T {
  if (result.ok) return result.value;
  throw new ApiError(result.error);
}

export function toApiError(requestId: string, cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause;
  console.error(`request ${requestId} failed:`, cause);
  return internalError(requestId);
}
