/** The API key that a reader gave the page, where the server needs one: how requests and sockets carry it. */

/** The server's word for "this is a session's socket"; a browser can set no header on one, so the key comes beside it. */
const SOCKET_PROTOCOL = "runnel";

const UNAUTHORIZED = 401;

/**
 * @param key null = none
 * @param onRefused the server needs a key, or another one
 */
export function keyedFetch(fetchOrigin: typeof fetch, key: () => string | null, onRefused: () => void): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    const current = key();
    if (current !== null) headers.set("authorization", `Bearer ${current}`);
    const response = await fetchOrigin(input, { ...init, headers });
    if (response.status === UNAUTHORIZED) onRefused();
    return response;
  };
}

/** Subprotocols to offer for a socket. */
export function socketProtocols(key: string | null): string[] {
  return key === null ? [] : [SOCKET_PROTOCOL, `bearer.${key}`];
}

/** What can be sent: text of a header, and of a subprotocol. Null for anything else. */
export function usableKey(text: string): string | null {
  const key = text.trim();
  return /^[0-9A-Za-z_.~+-]+$/.test(key) ? key : null;
}
