/**
 * What is wrong, in another server's words. The shapes are OpenAI's, vLLM's older one (`object: "error"`), TGI's and
 * Ollama's (`error` is a text), Workers AI's (`errors`) and FastAPI's (`detail`).
 */
import { type JsonObject, listOf, numberOf, objectOf, stringOf } from "../json-values.ts";

export interface UpstreamErrorBody {
  message: string;
  type: string | null;
  code: string | null;
  param: string | null;
}

/** A stream that tells of an error, or is none. */
export class UpstreamStreamError extends Error {
  /** What the server said; null = it said nothing, the stream itself is broken. */
  readonly said: UpstreamErrorBody | null;

  constructor(message: string, said: UpstreamErrorBody | null = null) {
    super(message);
    this.name = "UpstreamStreamError";
    this.said = said;
  }
}

/** @returns null where the value tells of no error */
export function upstreamErrorBody(value: unknown): UpstreamErrorBody | null {
  const body = objectOf(value);
  if (body === null) return null;
  if (typeof body.error === "string") return named(body.error, { type: body.error_type });
  const error = objectOf(body.error);
  if (error !== null) return named(stringOf(error.message) ?? "no reason was given", error);
  if (body.object === "error") return named(stringOf(body.message) ?? "no reason was given", body);
  const first = objectOf(listOf(body.errors)[0]);
  if (first !== null) return named(stringOf(first.message) ?? "no reason was given", first);
  if (typeof body.detail === "string") return named(body.detail, {});
  return null;
}

/**
 * The prompt is too long for the model, as OpenAI, vLLM, SGLang, llama.cpp and TGI say it. Only OpenAI's has a code for
 * it, and clients look for that.
 */
export function isContextExceeded({ message, type, code }: UpstreamErrorBody): boolean {
  if (code === "context_length_exceeded" || type === "exceed_context_size_error") return true;
  return /maximum context length|longer than the model'?s context|exceeds? the available context|`inputs` tokens \+ `max_new_tokens`/i.test(
    message,
  );
}

function named(message: string, { type, code, param }: JsonObject): UpstreamErrorBody {
  // vLLM's code is its status as a number.
  const codeText = stringOf(code) ?? (numberOf(code) === null ? null : String(code));
  return { message, type: stringOf(type), code: codeText, param: stringOf(param) };
}
