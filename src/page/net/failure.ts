/**
 * What can go wrong between the page and the server, in words for a reader. The kind decides what the page offers
 * (ask again, start a new chat, wait); the server's own message is shown as it came, since it holds the numbers.
 */

export type FailureKind =
  /** No answer at all: server down, network gone. */
  | "unreachable"
  /** 409: the session still answers an earlier message. */
  | "busy"
  /** 400 context_length_exceeded: asking again cannot help. */
  | "context"
  /** 404: the session is gone. */
  | "gone"
  /** Any other 4xx. */
  | "refused"
  /** 5xx, 429, or an answer that is no JSON. */
  | "server"
  /** The answer had begun and broke off with an error from the server. */
  | "interrupted";

export interface Failure {
  kind: FailureKind;
  title: string;
  /** The server's words, or what to do. */
  detail: string;
}

const TITLES: Record<FailureKind, string> = {
  unreachable: "The server can’t be reached",
  busy: "This chat is still answering",
  context: "This chat is full",
  gone: "This chat is gone",
  refused: "The server refused this",
  server: "The server had a problem",
  interrupted: "The answer broke off",
};

export function failure(kind: FailureKind, detail: string): Failure {
  return { kind, title: TITLES[kind], detail };
}

/** Thrown by the client; carries the `Failure` that the page shows. */
export class RequestError extends Error {
  readonly failure: Failure;
  constructor(reason: Failure) {
    super(`${reason.title}: ${reason.detail}`);
    this.name = "RequestError";
    this.failure = reason;
  }
}

/** `code` and `message` come from the body `{"error":{message,type,param,code}}`. */
export function failureOfResponse(status: number, code: string | null, message: string | null): Failure {
  const words = message ?? `The server answered with status ${status}.`;
  if (code === "context_length_exceeded") return failure("context", words);
  if (status === 409) return failure("busy", words);
  if (status === 404 && code !== "model_not_found") return failure("gone", words);
  if (status === 429 || status >= 500) return failure("server", words);
  return failure("refused", words);
}

/** `fetch` itself failed. */
export function networkFailure(): Failure {
  return failure("unreachable", "Check that it is running and that you are online. Nothing you typed is lost.");
}

export function failureOfException(error: unknown): Failure {
  if (error instanceof RequestError) return error.failure;
  return failure("server", `The page could not read the server’s answer (${String(error)}).`);
}

/** Failures that pass by themselves, so that waiting and asking again makes sense. */
export function isPassing(reason: Failure): boolean {
  return reason.kind === "unreachable" || reason.kind === "server" || reason.kind === "busy";
}
