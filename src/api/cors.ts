/**
 * Cross-origin access to /v1: any web page may call it, as any program may, but never with the credentials of a
 * browser. So `*` and no `Access-Control-Allow-Credentials`; and since a cookie can still arrive from another origin of
 * the same site (ports do not count), `owner.ts` ignores it there.
 */

const METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const PREFLIGHT_AGE_S = 86_400;

const REQUEST_HEADERS: readonly string[] = [
  "authorization",
  "content-type",
  "last-event-id",
  "openai-beta",
  "openai-organization",
  "openai-project",
  "x-request-id",
  "x-runnel-owner",
];

/** The openai clients tell about themselves in such headers, and CORS knows no wildcard prefix: those asked for are echoed. */
const ECHOED_PREFIX = "x-stainless-";

/** What a page may read of our answers, beyond the few headers that it always may. */
const EXPOSED_HEADERS =
  "x-request-id, retry-after, retry-after-ms, x-should-retry, x-runnel-truncated-messages, x-runnel-fallback";

export function isPreflight(request: Request): boolean {
  return request.method === "OPTIONS" && request.headers.has("access-control-request-method");
}

export function allowAnyOrigin(headers: Headers): void {
  headers.set("access-control-allow-origin", "*");
  headers.set("access-control-expose-headers", EXPOSED_HEADERS);
}

export function preflightResponse(request: Request): Response {
  const asked = (request.headers.get("access-control-request-headers") ?? "").toLowerCase().split(",");
  const echoed = asked.map((name) => name.trim()).filter((name) => name.startsWith(ECHOED_PREFIX));
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": METHODS,
      "access-control-allow-headers": [...REQUEST_HEADERS, ...echoed].join(", "),
      "access-control-max-age": String(PREFLIGHT_AGE_S),
      vary: "access-control-request-headers",
    },
  });
}
