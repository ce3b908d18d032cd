/**
 * `keep_alive`: how long Ollama keeps a model loaded behind a request, in seconds or as Go writes durations ("5m",
 * "1h30m", "-1ns"). Here a host decides about its memory by itself, so only the two ends mean something: a request
 * without a prompt loads the model, and with 0 it would unload it.
 */
import { invalidRequest } from "../errors.ts";
import { quote } from "../openai/validate.ts";

/** Some clients send the number of seconds as text. */
const DURATION = /^[+-]?(\d+|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)$/;
/** A duration of years still fits. */
const DURATION_CHARS_MAX = 64;

/** @returns true where the model is not to stay */
export function unloads(value: unknown): boolean {
  if (value == null) return false;
  if (typeof value === "number" && Number.isFinite(value)) return value === 0;
  if (typeof value === "string" && value.length <= DURATION_CHARS_MAX && DURATION.test(value)) {
    return !/[1-9]/.test(value);
  }
  throw invalidRequest(
    `'keep_alive' must be a number of seconds or a duration such as "5m", but is ${quote(value)}.`,
    "keep_alive",
  );
}
