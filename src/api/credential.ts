/**
 * The key that a request brings, and how keys are compared: as SHA-256 digests, all bytes of them, so that neither the
 * length of a wrong key nor how much of it is right shows in the time that it takes.
 */

const BEARER = /^bearer +(\S+)$/i;

/** Subprotocol of a session's socket. A browser can set no header on one, so a page offers its key as another. */
export const SOCKET_PROTOCOL = "runnel";
const SOCKET_KEY_PREFIX = "bearer.";

/** As `authorization: Bearer`, as `x-api-key`, or among the subprotocols of a socket; null = none. */
export function credentialOf({ headers }: Request): string | null {
  const bearer = BEARER.exec(headers.get("authorization") ?? "")?.[1];
  if (bearer !== undefined) return bearer;
  const key = headers.get("x-api-key")?.trim();
  if (key) return key;
  return offeredProtocols(headers).find(isSocketKey)?.slice(SOCKET_KEY_PREFIX.length) ?? null;
}

/** What to choose of the subprotocols that a socket was offered, so that a browser takes the answer; null = nothing. */
export function socketProtocolOf({ headers }: Request): string | null {
  return offeredProtocols(headers).includes(SOCKET_PROTOCOL) ? SOCKET_PROTOCOL : null;
}

export async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

export function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** In the same time for all of one length. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

function offeredProtocols(headers: Headers): string[] {
  return (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
}

function isSocketKey(name: string): boolean {
  return name.startsWith(SOCKET_KEY_PREFIX) && name.length > SOCKET_KEY_PREFIX.length;
}
