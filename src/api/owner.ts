/**
 * Whose sessions are these? An owner is an unguessable id: a browser keeps it in a cookie, made with its first session;
 * an API user may send one of its own in `x-runnel-owner`. Without an owner a session is unlisted, and only its id opens it.
 *
 * Behind an API key owners are the key's own: the same id under another key is somebody else, and without one the key itself
 * is the owner, so that whoever has it lists what was made with it. The cookie means nothing there.
 *
 * The cookie counts only where the request comes from our own page. SameSite=Strict keeps it from other sites, but not
 * from another port of the same host, and with no content-type a foreign page needs no preflight to send a POST.
 */
import { invalidRequest } from "../protocol/errors.ts";
import { isOwnerId } from "../protocol/sessions.ts";
import type { Caller } from "./caller.ts";

export const OWNER_COOKIE = "runnel_owner";
export const OWNER_HEADER = "x-runnel-owner";

/** Between a key's id and an owner's, and in neither. */
const KEY_MARK = ".";

/** Browsers cap the life of a cookie at 400 days. */
const COOKIE_AGE_S = 400 * 24 * 60 * 60;

export function ownerOf(request: Request, { keyId }: Caller): string | null {
  const header = request.headers.get(OWNER_HEADER);
  if (header !== null && !isOwnerId(header)) {
    throw invalidRequest(
      `'${OWNER_HEADER}' must be at least 22 characters of A-Z, a-z, 0-9, '-' and '_'.`,
      OWNER_HEADER,
    );
  }
  if (keyId !== null) return header === null ? keyId : `${keyId}${KEY_MARK}${header}`;
  if (header !== null) return header;
  if (isForeign(request)) return null;
  const cookie = cookieValue(request.headers.get("cookie") ?? "", OWNER_COOKIE);
  return cookie !== null && isOwnerId(cookie) ? cookie : null;
}

/** The API key that an owner belongs to; null = none. */
export function keyOfOwner(owner: string | null): string | null {
  if (owner === null || isOwnerId(owner)) return null;
  return owner.split(KEY_MARK, 1)[0]!;
}

/** A page of ours that has no owner yet: give it one. Programs without a cookie jar would only lose it. */
export function isOwnPage(request: Request): boolean {
  return (request.headers.has("origin") || request.headers.has("sec-fetch-site")) && !isForeign(request);
}

export function ownerCookie(owner: string, request: Request): string {
  const secure = new URL(request.url).protocol === "https:" ? "; Secure" : "";
  return `${OWNER_COOKIE}=${owner}; Path=/v1; Max-Age=${COOKIE_AGE_S}; HttpOnly; SameSite=Strict${secure}`;
}

/** Sent by a page of another origin? Browsers tell by `sec-fetch-site`, older ones by `origin` (on a POST). */
export function isForeign(request: Request): boolean {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) return site !== "same-origin" && site !== "none";
  const origin = request.headers.get("origin");
  if (origin === null) return false;
  const host = request.headers.get("host") ?? new URL(request.url).host;
  // A proxy may have taken TLS off, so the host is compared and not the scheme.
  return !URL.canParse(origin) || new URL(origin).host !== host;
}

function cookieValue(header: string, name: string): string | null {
  for (const pair of header.split(";")) {
    const [key, value] = pair.trim().split("=", 2);
    if (key === name && value !== undefined) return value;
  }
  return null;
}
