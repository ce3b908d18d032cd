/**
 * What went wrong at an origin: what the client is told, whether another origin may be tried, and whether it speaks
 * against the origin. docs/origins.md has the table; this is its executable form.
 */
import {
  ApiError,
  invalidRequest,
  unavailable,
  upstreamBusy,
  upstreamFailed,
  upstreamTimedOut,
} from "../../protocol/errors.ts";
import {
  isContextExceeded,
  type UpstreamErrorBody,
  type UpstreamStreamError,
} from "../../protocol/openai/upstream-error.ts";

/** A busy origin that does not say for how long. */
const REST_MS = 1_000;
/** Whoever asks to be left alone for longer is asked again anyway. */
const REST_MS_MAX = 60_000;
const RETRY_S = 1;

export interface FailureVerdict {
  error: ApiError;
  /** Asking another origin may help, and asking twice does no harm: nothing was generated. */
  isRetryable: boolean;
  /** Counts for its circuit breaker. */
  isFault: boolean;
  /** It wants to be left alone for so long. */
  restMs: number;
}

export class OriginFailure extends Error implements FailureVerdict {
  readonly error: ApiError;
  readonly isRetryable: boolean;
  readonly isFault: boolean;
  readonly restMs: number;

  constructor({ error, isRetryable, isFault, restMs }: FailureVerdict) {
    super(error.message);
    this.name = "OriginFailure";
    this.error = error;
    this.isRetryable = isRetryable;
    this.isFault = isFault;
    this.restMs = restMs;
  }
}

export function unreachable(origin: string): OriginFailure {
  return fault(upstreamFailed(`The origin '${origin}' cannot be reached.`));
}

/** @param what it did not do */
export function timedOut(origin: string, what: string, limitMs: number): OriginFailure {
  return fault(upstreamTimedOut(`The origin '${origin}' ${what} within ${limitMs} ms.`));
}

/** @param hide takes addresses and keys out of a text */
export function brokenStream(
  origin: string,
  cause: UpstreamStreamError,
  hide: (text: string) => string,
): OriginFailure {
  const said = cause.said === null ? cause.message : `it says: ${hide(cause.said.message)}`;
  return fault(upstreamFailed(`The answer of origin '${origin}' broke off: ${said}.`.replace(/\.\.$/, ".")));
}

export interface Refusal {
  status: number;
  retryAfter: string | null;
  /** null where its words are none that are known. */
  body: UpstreamErrorBody | null;
}

/** A response that is no answer. */
export function refused(
  origin: string,
  { status, retryAfter, body }: Refusal,
  nowMs: number,
  hide: (text: string) => string,
): OriginFailure {
  const said = body === null ? "" : `: ${hide(body.message)}`;
  const restMs = retryAfterMs(retryAfter, nowMs);
  const restS = Math.max(RETRY_S, Math.ceil((restMs ?? REST_MS) / 1000));
  const words = `The origin '${origin}'`;
  const verdict = (error: ApiError, isRetryable: boolean, isFault: boolean, rest = 0) =>
    new OriginFailure({ error, isRetryable, isFault, restMs: rest });
  if (status === 429) {
    return verdict(upstreamBusy(`${words} has too much to do${said}`, restS), true, false, restMs ?? REST_MS);
  }
  if (status === 503) return verdict(unavailable(`${words} is not available${said}`, restS), true, true, restMs ?? 0);
  if (status === 504 || status === 408) {
    return verdict(upstreamTimedOut(`${words} timed out (status ${status})${said}`), true, true);
  }
  // Its words may quote the key.
  if (status === 401 || status === 403) {
    return verdict(
      upstreamFailed(`${words} does not accept the key that is configured for it (status ${status}).`),
      true,
      true,
    );
  }
  if (status === 404)
    return verdict(upstreamFailed(`${words} does not have the model (status 404)${said}`), true, false);
  if (status >= 400 && status < 500) return verdict(clientError(status, body, hide), false, false);
  const isRetryable = status !== 500 && status !== 501;
  return verdict(upstreamFailed(`${words} failed (status ${status})${said}`), isRetryable, true);
}

/** The client's own mistake, in the origin's words. */
function clientError(status: number, body: UpstreamErrorBody | null, hide: (text: string) => string): ApiError {
  if (body === null) {
    return new ApiError({ ...REFUSED, status, message: `The origin refuses the request (status ${status}).` });
  }
  const message = hide(body.message);
  const param = body.param === null ? null : hide(body.param);
  if (isContextExceeded(body)) return invalidRequest(message, param ?? "messages", "context_length_exceeded");
  // A bare number repeats the status.
  const code = body.code === null || /^\d+$/.test(body.code) ? null : hide(body.code);
  return new ApiError({ ...REFUSED, status, code, param, message });
}

const REFUSED = { type: "invalid_request_error", code: null, param: null };

function fault(error: ApiError): OriginFailure {
  return new OriginFailure({ error, isRetryable: true, isFault: true, restMs: 0 });
}

/** Of the header's value: seconds, or a date. null = there is none. */
export function retryAfterMs(value: string | null, nowMs: number): number | null {
  if (value === null || value.trim() === "") return null;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), REST_MS_MAX);
}
