/** The one key of this server, where it has one. */
import { ANYBODY, type Caller } from "../api/caller.ts";
import { credentialOf, sameBytes, sha256 } from "../api/credential.ts";
import { unauthorized } from "../protocol/errors.ts";

/** @returns a check that rejects with `ApiError` 401. How long it takes says nothing of how much of a key is right. */
export function keyCheck(apiKey: string): (request: Request) => Promise<Caller> {
  const wanted = sha256(apiKey);
  return async (request) => {
    const given = credentialOf(request);
    if (given === null || !sameBytes(await sha256(given), await wanted)) throw unauthorized();
    return ANYBODY;
  };
}
