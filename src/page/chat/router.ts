/**
 * The address of a chat: `#/c/ID`, or nothing for a new one. In the hash, so that a reload asks the server for the
 * same static page whatever chat is open. Other hashes (skip links) are not the router's.
 */

export type Route = { kind: "new" } | { kind: "session"; id: string };

/** null = not an address of the page: leave everything as it is. */
export function parseHash(hash: string): Route | null {
  if (hash === "" || hash === "#" || hash === "#/") return { kind: "new" };
  const match = /^#\/c\/([^/]+)$/.exec(hash);
  if (match === null) return null;
  try {
    return { kind: "session", id: decodeURIComponent(match[1]!) };
  } catch {
    return { kind: "new" };
  }
}

export function formatHash(route: Route): string {
  return route.kind === "new" ? "#/" : `#/c/${encodeURIComponent(route.id)}`;
}
