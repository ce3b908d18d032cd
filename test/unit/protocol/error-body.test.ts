import { expect, test } from "vitest";
import { apiErrorOf, errorEventOf } from "../../../src/protocol/error-event.ts";
import {
  ApiError,
  bodyTooLarge,
  contextLengthExceeded,
  internalError,
  modelNotFound,
  overloaded,
  sessionBusy,
  unavailable,
  unsupportedParameter,
} from "../../../src/protocol/errors.ts";
import { errorBody, errorHeaders } from "../../../src/protocol/openai/error-body.ts";

test.each([
  [contextLengthExceeded(5000, 100, 4096), 400, "invalid_request_error", "context_length_exceeded", "messages"],
  [modelNotFound("x", ["a", "b"]), 404, "invalid_request_error", "model_not_found", "model"],
  [bodyTooLarge(5, 4), 413, "invalid_request_error", "body_too_large", null],
  [sessionBusy("s"), 409, "invalid_request_error", "session_busy", null],
  [overloaded(5, 4), 429, "server_busy", "server_overloaded", null],
  [unavailable("Loading.", 2), 503, "unavailable_error", "model_unavailable", null],
  [internalError("r1"), 500, "server_error", "internal_error", null],
])("%s has all four keys", (error, status, type, code, param) => {
  expect(error.status).toBe(status);
  expect(errorBody(error)).toEqual({ error: { message: error.message, type, param, code } });
});

test("the context error names the numbers", () => {
  const { message } = contextLengthExceeded(5000, 100, 4096);
  for (const number of ["5000", "100", "4096"]) expect(message).toContain(number);
});

test("the refusal of a field says what would be accepted", () => {
  expect(unsupportedParameter("store", [false]).message).toBe(
    "'store' is not supported here. Leave it out or set it to false.",
  );
  expect(unsupportedParameter("tools").message).toBe("'tools' is not supported here. Leave it out.");
});

test.each([
  [overloaded(5, 4), { "retry-after": "1", "retry-after-ms": "1000" }],
  [unavailable("Loading.", 0.2), { "retry-after": "1", "retry-after-ms": "200" }],
  [sessionBusy("s"), { "x-should-retry": "false" }],
  [internalError("r1"), {}],
  [modelNotFound("x", []), {}],
])("%s tells clients when to retry", (error, headers) => {
  expect(errorHeaders(error)).toEqual(headers);
});

test("an error survives being an event", () => {
  const error = new ApiError({ status: 400, type: "t", code: "c", param: "p", message: "m" });
  expect(apiErrorOf(errorEventOf(error))).toEqual(error);
});
