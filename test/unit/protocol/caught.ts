import { ApiError } from "../../../src/protocol/errors.ts";

/** The `ApiError` that `run` throws; anything else fails the test. */
export function caught(run: () => unknown): ApiError {
  try {
    run();
  } catch (cause) {
    if (cause instanceof ApiError) return cause;
    throw cause;
  }
  throw new Error("Nothing was thrown.");
}
