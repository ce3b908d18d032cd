/**
 * What an origin says on its way to clients and logs: without addresses, without the origin's key, and short. Servers
 * quote both (a proxy its backend's URL, a gateway the key that it does not know).
 */

/** Enough for a reason, and for no page of HTML. */
const CHARS_MAX = 500;
const HIDDEN = "[hidden]";

/** Bearer tokens, and keys as most services write them. */
const KEY_LIKE = /\b(bearer\s+|sk-|pk-|hf_|gsk_|api[-_ ]?key\s*[=:]\s*)[^\s"',;]{4,}/gi;
const URL_LIKE = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>)]+/gi;
const IPV4_LIKE = /\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b/g;

/** @param secrets texts that must not appear, such as the key and the host; empty ones are passed over */
export function hider(secrets: readonly string[]): (text: string) => string {
  const known = secrets.filter((secret) => secret !== "").sort((a, b) => b.length - a.length);
  return (text) => {
    let shown = text;
    for (const secret of known) shown = shown.replaceAll(secret, HIDDEN);
    shown = shown.replace(URL_LIKE, HIDDEN).replace(IPV4_LIKE, HIDDEN).replace(KEY_LIKE, HIDDEN);
    // A control character could end a log line or colour a terminal.
    shown = shown.replace(/[\p{Cc}]+/gu, " ").trim();
    return shown.length <= CHARS_MAX ? shown : `${shown.slice(0, CHARS_MAX)}…`;
  };
}
