/** The id of a request: the client's own where it is harmless in headers and logs, or a new one. */
import { REQUEST_ID_CHARS_MAX } from "../protocol/limits.ts";

const SAFE = new RegExp(`^[0-9A-Za-z._:-]{1,${REQUEST_ID_CHARS_MAX}}$`);

export function requestIdOf(request: Request, randomId: () => string): string {
  const given = request.headers.get("x-request-id");
  return given !== null && SAFE.test(given) ? given : randomId();
}
