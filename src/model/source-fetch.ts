/**
 * A model behind HTTP: a static asset of the Worker, a download. A broken connection is resumed with a Range request.
 * The version (ETag, or Last-Modified and size) is pinned by the first response and every later one must match it, so
 * that a file which changes on the server is never stitched together from two versions.
 */
import type { ByteSource } from "./byte-source.ts";
import { ModelError } from "./errors.ts";
import { DEFAULT_RETRY, openResuming, type RetryPolicy } from "./resuming-stream.ts";
import { skipBytes } from "./skip-bytes.ts";

export type FetchLike = (url: string, init: { headers: Record<string, string> }) => Promise<Response>;

export interface FetchSourceOptions {
  /** Default: the global one. A binding's: `(url, init) => env.ASSETS.fetch(url, init)`. */
  fetch?: FetchLike;
  /** Sent with every request. */
  headers?: Record<string, string>;
  retry?: RetryPolicy;
}

/** What identifies the bytes behind a URL. */
export interface SourceVersion {
  etag: string | null;
  lastModified: string | null;
  sizeBytes: number | null;
}

export interface FetchSource extends ByteSource {
  /** Of the last response; null before the first. */
  readonly version: SourceVersion | null;
}

/** Busy or briefly broken: worth another try. */
const RETRYABLE_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

export function fetchSource(url: string, options: FetchSourceOptions = {}): FetchSource {
  const doFetch: FetchLike = options.fetch ?? ((input, init) => fetch(input, init));
  let known: SourceVersion | null = null;

  /** @param expected the version this must continue; null at the start of a stream */
  async function openAt(offsetBytes: number, expected: SourceVersion | null) {
    const headers: Record<string, string> = { "accept-encoding": "identity", ...options.headers };
    if (offsetBytes > 0) {
      headers.range = `bytes=${offsetBytes}-`;
      const validator = expected === null ? null : strongValidator(expected);
      if (validator !== null) headers["if-range"] = validator;
    }
    const response = await doFetch(url, { headers });
    if (response.status === 416) throw await refused(response, unsatisfiable(url, offsetBytes));
    if (!response.ok) throw await refused(response, statusError(url, response));
    const startBytes = response.status === 206 ? rangeStart(response, url) : 0;
    const version = versionOf(response);
    if (expected !== null && !isSameVersion(expected, version)) throw await refused(response, changed(url, expected));
    if (startBytes > offsetBytes) throw await refused(response, wrongRange(url, offsetBytes, startBytes));
    if (response.body === null) throw new Error("the response has no body");
    // A server that ignores Range sends everything again.
    return { version, stream: skipBytes(response.body, offsetBytes - startBytes) };
  }

  return {
    name: url,
    get sizeBytes() {
      return known?.sizeBytes ?? null;
    },
    get version() {
      return known;
    },
    async open(offsetBytes = 0) {
      let pinned = offsetBytes === 0 ? null : known;
      const resumable = {
        name: url,
        async openAt(atBytes: number) {
          const { version, stream } = await openAt(atBytes, pinned);
          pinned = version;
          known = version;
          return stream;
        },
        sizeBytes: () => pinned?.sizeBytes ?? null,
      };
      return openResuming(resumable, offsetBytes, options.retry ?? DEFAULT_RETRY);
    },
  };
}

function versionOf(response: Response): SourceVersion {
  const encoding = response.headers.get("content-encoding") ?? "identity";
  const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  const length = response.status === 206 ? total : response.headers.get("content-length");
  return {
    etag: response.headers.get("etag"),
    lastModified: response.headers.get("last-modified"),
    // A compressed response tells the size of what was sent, not of the file.
    sizeBytes: encoding === "identity" && length != null ? Number(length) : null,
  };
}

/** If-Range takes no weak ETag (RFC 9110, 13.1.5). */
function strongValidator(version: SourceVersion): string | null {
  if (version.etag !== null && !version.etag.startsWith("W/")) return version.etag;
  return version.lastModified;
}

/** Provably the same: a server without any validator cannot be trusted to continue a file. */
export function isSameVersion(a: SourceVersion, b: SourceVersion): boolean {
  if (a.sizeBytes !== b.sizeBytes) return false;
  if (a.etag !== null || b.etag !== null) return a.etag === b.etag;
  return a.lastModified !== null && a.lastModified === b.lastModified;
}

function rangeStart(response: Response, url: string): number {
  const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
  if (start !== undefined) return Number(start);
  throw new ModelError("unreadable", `${url} answered 206 without a valid Content-Range header.`);
}

/** Lets go of the connection before the error is thrown. */
async function refused(response: Response, error: Error): Promise<Error> {
  await response.body?.cancel().catch(() => undefined);
  return error;
}

function statusError(url: string, response: Response): Error {
  const text = `${url} answered ${response.status}${response.statusText === "" ? "" : ` ${response.statusText}`}`;
  if (RETRYABLE_STATUS.has(response.status)) return new Error(text);
  const isDenied = response.status === 401 || response.status === 403;
  const mend = isDenied ? "It may need a token." : "Check the address.";
  return new ModelError("unreadable", `${text}. ${mend}`);
}

function unsatisfiable(url: string, offsetBytes: number): ModelError {
  return new ModelError(
    "unreadable",
    `${url} has no bytes from ${offsetBytes} on: it is shorter than it was said to be.`,
  );
}

function changed(url: string, expected: SourceVersion): ModelError {
  const hasValidator = expected.etag !== null || expected.lastModified !== null;
  const reason = hasValidator
    ? "it changed on the server while it was read"
    : "the server sends neither ETag nor Last-Modified, so what follows may belong to another file";
  return new ModelError("unreadable", `${url} cannot be continued after a break: ${reason}. Start again.`);
}

function wrongRange(url: string, askedBytes: number, startBytes: number): ModelError {
  return new ModelError(
    "unreadable",
    `${url} was asked for bytes from ${askedBytes} on and sent them from ${startBytes}.`,
  );
}
