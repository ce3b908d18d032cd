/** The one key of this server, where it has one. */
import { createHash, timingSafeEqual } from "node:crypto";
import { unauthorized } from "../protocol/errors.ts";

const BEARER = /^bearer +(\S+)$/i;

/** @returns a check that throws `ApiError` 401. How long it takes says nothing of how much of a key is right. */
export function bearerCheck(apiKey: string): (request: Request) => void {
  const wanted = digest(apiKey);
  return (request) => {
    const given = BEARER.exec(request.headers.get("authorization") ?? "")?.[1];
    if (given === undefined || !timingSafeEqual(digest(given), wanted)) throw unauthorized();
  };
}

/** Keys of any length compare as equally long bytes. */
function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
