/**
 * Cross-origin access: which pages may use the API is the host's to say (`cors-policy.ts`), but none ever does so with the
 * credentials of a browser. So there is no `Access-Control-Allow-Credentials`; and since a cookie can still arrive from
 * another origin of the same site (ports do not count), `owner.ts` ignores it there.
 *
 * A page that may not is refused, not only kept from reading: a POST without a content-type is sent without a preflight,
 * and a WebSocket knows none.
 */
import { originNotAllowed } from "../protocol/errors.ts";
import type { CorsPolicy } from "./cors-policy.ts";
import { isForeign } from "./owner.ts";

const METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const PREFLIGHT_AGE_S = 86_400;

const REQUEST_HEADERS: readonly string[] = [
  "authorization",
  "content-type",
  "last-event-id",
  "openai-beta",
  "openai-organization",
  "openai-project",
  "x-api-key",
  "x-request-id",
  "x-runnel-owner",
];

/** The openai clients tell about themselves in such headers, and CORS knows no wildcard prefix: those asked for are echoed. */
const ECHOED_PREFIX = "x-stainless-";

/** What a page may read of our answers, beyond the few headers that it always may. */
const EXPOSED_HEADERS = [
  "x-request-id",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "x-runnel-truncated-messages",
  "x-runnel-fallback",
  ...["limit", "remaining", "reset"].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
].join(", ");

/** Beyond it, a 403 would quote a header of any length. */
const ORIGIN_CHARS_MAX = 200;

export function isPreflight(request: Request): boolean {
  return request.method === "OPTIONS" && request.headers.has("access-control-request-method");
}

/** @throws ApiError 403 for a page that may not ask */
export function assertOriginAllowed(policy: CorsPolicy, request: Request): void {
  const origin = request.headers.get("origin");
  if (policy === "any" || origin === null || !isForeign(request) || policy(origin)) return;
  throw originNotAllowed(origin.slice(0, ORIGIN_CHARS_MAX));
}

/** Of an answer to a request whose origin is allowed. */
export function allowOrigin(policy: CorsPolicy, request: Request, headers: Headers): void {
  if (policy === "any") headers.set("access-control-allow-origin", "*");
  else {
    headers.append("vary", "origin");
    const origin = request.headers.get("origin");
    if (origin === null || !policy(origin)) return;
    headers.set("access-control-allow-origin", origin);
  }
  headers.set("access-control-expose-headers", EXPOSED_HEADERS);
}

export function preflightResponse(policy: CorsPolicy, request: Request): Response {
  const asked = (request.headers.get("access-control-request-headers") ?? "").toLowerCase().split(",");
  const echoed = asked.map((name) => name.trim()).filter((name) => name.startsWith(ECHOED_PREFIX));
  const headers = new Headers({
    "access-control-allow-methods": METHODS,
    "access-control-allow-headers": [...REQUEST_HEADERS, ...echoed].join(", "),
    "access-control-max-age": String(PREFLIGHT_AGE_S),
    vary: "access-control-request-headers",
  });
  allowOrigin(policy, request, headers);
  return new Response(null, { status: 204, headers });
}
