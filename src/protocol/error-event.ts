/** Errors as events and back: a fault after the 200, or behind a border that carries events only. */
import { ApiError } from "./errors.ts";
import type { GenerateEvent } from "./generate.ts";

type ErrorEvent = Extract<GenerateEvent, { type: "error" }>;

export function errorEventOf(error: ApiError): ErrorEvent {
  const { status, type, code, param, message } = error;
  return { type: "error", status, errorType: type, code, param, message };
}

export function apiErrorOf(event: ErrorEvent): ApiError {
  const { status, errorType, code, param, message } = event;
  return new ApiError({ status, type: errorType, code, param, message });
}
