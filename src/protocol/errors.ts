/**
 * The one error that reaches a client. Made by named factories, so that each case has one wording: what was wrong, the
 * value, the limit, the mend. Anything else thrown is a bug and shows a request id only (`internalError`).
 */
import { RESPONSE_CHAIN_MAX } from "./limits.ts";

export interface ApiErrorFields {
  /** HTTP status. */
  status: number;
  /** OpenAI's `error.type`. */
  type: string;
  /** Machine-readable reason, or null. */
  code: string | null;
  /** The request field at fault, in dotted form, or null. */
  param: string | null;
  message: string;
  /** Seconds until a retry makes sense; sent as Retry-After and retry-after-ms. */
  retryAfterS?: number;
  /** Further headers of the response: what is left of a key's limits. */
  headers?: Record<string, string>;
}

export class ApiError extends Error {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly param: string | null;
  readonly retryAfterS: number | null;
  readonly headers: Record<string, string>;

  constructor(fields: ApiErrorFields) {
    super(fields.message);
    this.name = "ApiError";
    this.status = fields.status;
    this.type = fields.type;
    this.code = fields.code;
    this.param = fields.param;
    this.retryAfterS = fields.retryAfterS ?? null;
    this.headers = fields.headers ?? {};
  }
}

/** As plain data, for borders that carry no classes: `new ApiError(errorFields(error))` is the error again. */
export function errorFields(error: ApiError): ApiErrorFields {
  const { status, type, code, param, message, retryAfterS, headers } = error;
  const isPlain = Object.keys(headers).length === 0;
  const more = { ...(retryAfterS === null ? {} : { retryAfterS }), ...(isPlain ? {} : { headers }) };
  return { status, type, code, param, message, ...more };
}

const INVALID = "invalid_request_error";

export function invalidRequest(message: string, param: string | null = null, code: string | null = null): ApiError {
  return new ApiError({ status: 400, type: INVALID, code, param, message });
}

/** A known field with a value this server cannot honour. `neutral` are the values that ask for nothing. */
export function unsupportedParameter(param: string, neutral: readonly unknown[] = []): ApiError {
  const mend = neutral.length === 0 ? "" : ` or set it to ${neutral.map((one) => JSON.stringify(one)).join(" or ")}`;
  return invalidRequest(`'${param}' is not supported here. Leave it out${mend}.`, param, "unsupported_parameter");
}

/** Images, audio, files: the models served here read text. */
export function unsupportedContent(param: string, kind: string, textKind = "text"): ApiError {
  return invalidRequest(
    `'${param}' is a part of type '${kind}', but this model reads text only. Send parts of type '${textKind}'.`,
    param,
    "unsupported_content",
  );
}

/**
 * The prompt (plus the asked-for completion) does not fit the context.
 *
 * @param param where the prompt came from: "messages", "prompt" or "content"
 */
export function contextLengthExceeded(
  numPrompt: number,
  numMax: number | null,
  contextLength: number,
  param = "messages",
): ApiError {
  const asked = numMax === null ? "at least 1 new token" : `${numMax} new tokens`;
  return new ApiError({
    status: 400,
    type: INVALID,
    code: "context_length_exceeded",
    param,
    message:
      `This model's context is ${contextLength} tokens, but the prompt has ${numPrompt} and the request asks for ` +
      `${asked}. Shorten the prompt or lower max_tokens.`,
  });
}

export function modelNotFound(model: string, known: readonly string[]): ApiError {
  return new ApiError({
    status: 404,
    type: INVALID,
    code: "model_not_found",
    param: "model",
    message: `The model '${model}' does not exist here. Models: ${known.join(", ") || "none"}.`,
  });
}

const NEEDS_KEY = "This server needs an API key. Send 'authorization: Bearer KEY' with a right one.";

/** No key where one is needed, or a wrong one. @param message where there is more to say than that */
export function unauthorized(message = NEEDS_KEY): ApiError {
  return new ApiError({ status: 401, type: INVALID, code: "invalid_api_key", param: null, message });
}

/** The key is right, but not for this model. */
export function modelNotAllowed(model: string, allowed: readonly string[]): ApiError {
  return new ApiError({
    status: 403,
    type: "permission_error",
    code: "model_not_allowed",
    param: "model",
    message: `This API key is not for the model '${model}'. Its models: ${allowed.join(", ") || "none"}.`,
  });
}

/** A page of an origin that is not on the operator's list. */
export function originNotAllowed(origin: string): ApiError {
  return new ApiError({
    status: 403,
    type: "permission_error",
    code: "origin_not_allowed",
    param: null,
    message: `Pages of the origin '${origin}' may not use this server. Its operator can add it to CORS_ORIGINS.`,
  });
}

/** @param headers what is left of the key's limits */
export function rateLimited(
  what: "requests" | "tokens",
  limitPerMinute: number,
  retryAfterS: number,
  headers: Record<string, string>,
): ApiError {
  return new ApiError({
    status: 429,
    type: "rate_limit_error",
    code: "rate_limit_exceeded",
    param: null,
    message: `This API key may use ${limitPerMinute} ${what} a minute, and they are used up. Retry in ${retryAfterS.toFixed(1)} s.`,
    retryAfterS,
    headers,
  });
}

export function notFound(what: string): ApiError {
  return new ApiError({
    status: 404,
    type: INVALID,
    code: "not_found",
    param: null,
    message: `${what} does not exist.`,
  });
}

export function previousResponseNotFound(id: string): ApiError {
  return invalidRequest(
    `The response '${id}', or one that it goes on from, is not kept here (any more), or they are more than ` +
      `${RESPONSE_CHAIN_MAX}. Send the whole conversation as 'input' instead.`,
    "previous_response_id",
    "previous_response_not_found",
  );
}

export function unknownRoute(method: string, path: string): ApiError {
  return new ApiError({
    status: 404,
    type: INVALID,
    code: "unknown_url",
    param: null,
    message: `Unknown request URL: ${method} ${path}. See the README for the routes.`,
  });
}

export function methodNotAllowed(method: string, path: string, allowed: readonly string[]): ApiError {
  return new ApiError({
    status: 405,
    type: INVALID,
    code: "method_not_allowed",
    param: null,
    message: `${path} does not take ${method}. Use ${allowed.join(" or ")}.`,
  });
}

export function bodyTooLarge(numBytes: number | null, limitBytes: number): ApiError {
  const size = numBytes === null ? "larger" : `${numBytes} bytes`;
  return new ApiError({
    status: 413,
    type: INVALID,
    code: "body_too_large",
    param: null,
    message: `The request body is ${size}; the limit is ${limitBytes} bytes.`,
  });
}

/** @param mend what to send instead */
export function unsupportedMediaType(header: string, value: string, mend: string): ApiError {
  return new ApiError({
    status: 415,
    type: INVALID,
    code: "unsupported_media_type",
    param: null,
    message: `The request has '${header}: ${value}', which is not supported. ${mend}`,
  });
}

/** Nobody reads this one: the client went away before its answer was there (nginx's status for it). */
export function clientClosedRequest(): ApiError {
  return new ApiError({
    status: 499,
    type: INVALID,
    code: "client_closed_request",
    param: null,
    message: "The client closed the request before the answer was complete.",
  });
}

/** A session takes one message at a time. */
export function sessionBusy(sessionId: string): ApiError {
  return new ApiError({
    status: 409,
    type: INVALID,
    code: "session_busy",
    param: null,
    message: `Session ${sessionId} is still answering. Wait for the answer or POST /v1/sessions/${sessionId}/stop.`,
  });
}

/** Too many messages wait for one session's running answer. */
export function sessionQueueFull(sessionId: string, numWaitingMax: number): ApiError {
  return new ApiError({
    status: 409,
    type: INVALID,
    code: "session_queue_full",
    param: "if_busy",
    message:
      `${numWaitingMax} messages wait for session ${sessionId} already, and that is the limit. Wait for an answer or ` +
      `POST /v1/sessions/${sessionId}/stop.`,
  });
}

/** A stream is to be resumed whose events are gone: a later turn has taken their place. */
export function streamGone(turn: number, lastTurn: number | null): ApiError {
  return new ApiError({
    status: 410,
    type: INVALID,
    code: "stream_gone",
    param: "last_event_id",
    message:
      `The event is of turn ${turn}, but only the last turn's events are kept (${lastTurn ?? "there is none"}). GET the ` +
      "session for what was said, or its stream without an event id for the running answer.",
  });
}

/** Every event goes to every socket of a session, so there is a bound on them. */
export function tooManySockets(sessionId: string, numMax: number): ApiError {
  return new ApiError({
    status: 429,
    type: INVALID,
    code: "too_many_sockets",
    param: null,
    message: `Session ${sessionId} has ${numMax} open sockets, and that is the limit. Close one.`,
  });
}

/** A route that answers with another protocol only. */
export function upgradeRequired(path: string): ApiError {
  return new ApiError({
    status: 426,
    type: INVALID,
    code: "upgrade_required",
    param: null,
    message: `${path} is a WebSocket. Open it with one, or GET the session's stream for server-sent events.`,
  });
}

/** The queue is full. */
export function overloaded(numWaiting: number, numWaitingMax: number): ApiError {
  return new ApiError({
    status: 429,
    type: "server_busy",
    code: "server_overloaded",
    param: null,
    message: `${numWaiting} requests are waiting and the limit is ${numWaitingMax}. Retry in a second.`,
    retryAfterS: 1,
  });
}

/**
 * An answer is made faster than its client takes it.
 *
 * @param holder whose unread bytes the limit is on
 */
export function readerTooSlow(
  heldBytes: number,
  limitBytes: number,
  holder: "an answer" | "all answers together",
): ApiError {
  return new ApiError({
    status: 429,
    type: "server_busy",
    code: "reader_too_slow",
    param: null,
    message:
      `${heldBytes} bytes of this answer wait to be read, and ${holder} may hold ${limitBytes}. Read faster, or ask for ` +
      "fewer logprobs.",
    retryAfterS: 1,
  });
}

/** The model cannot be used right now (loading failed, memory held by another model). */
export function unavailable(message: string, retryAfterS: number): ApiError {
  return new ApiError({
    status: 503,
    type: "unavailable_error",
    code: "model_unavailable",
    param: null,
    message,
    retryAfterS,
  });
}

/** An engine is lost again and again with one request in it: sent once more, it would do the same elsewhere. */
export function engineFailed(model: string, numTimes: number): ApiError {
  return new ApiError({
    status: 500,
    type: "server_error",
    code: "engine_failed",
    param: null,
    message:
      `The engine of '${model}' failed ${numTimes} times while it worked on this answer, so it is not tried again. Other ` +
      "requests are answered.",
  });
}

/**
 * A server behind this one did not do its part.
 *
 * @param message names it, and never its address or key
 */
export function upstreamFailed(message: string): ApiError {
  return new ApiError({ status: 502, type: "server_error", code: "upstream_error", param: null, message });
}

export function upstreamTimedOut(message: string): ApiError {
  return new ApiError({ status: 504, type: "server_error", code: "upstream_timeout", param: null, message });
}

/** Every server that has the model says that it has too much to do. */
export function upstreamBusy(message: string, retryAfterS: number): ApiError {
  return new ApiError({
    status: 429,
    type: "server_busy",
    code: "server_overloaded",
    param: null,
    message,
    retryAfterS,
  });
}

/** A route of a protocol that this server speaks, for something that it does not do. */
export function notImplemented(message: string): ApiError {
  return new ApiError({ status: 501, type: INVALID, code: "not_implemented", param: null, message });
}

/** A model file that cannot be served: corrupt, unsupported or over the memory budget. Retrying does not help. */
export function modelUnusable(model: string, reason: string): ApiError {
  return new ApiError({
    status: 422,
    type: INVALID,
    code: "model_unusable",
    param: "model",
    message: `The model '${model}' cannot be served: ${reason}`,
  });
}

/** A bug. The cause goes to the log under the same id, never to the client. */
export function internalError(requestId: string): ApiError {
  return new ApiError({
    status: 500,
    type: "server_error",
    code: "internal_error",
    param: null,
    message: `Internal error. Request id: ${requestId}`,
  });
}
