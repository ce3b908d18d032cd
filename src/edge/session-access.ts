/**
 * What the API key that a session belongs to may do with it. Asked by the session's object for every question, by whatever
 * way it comes: over a socket no Worker's route sees it, and a key may have been taken back since the session was made.
 */
import { assertMayUse } from "../api/caller.ts";
import type { SessionTurnRequest } from "../api/model-service.ts";
import { keyOfOwner } from "../api/owner.ts";
import type { Grant } from "../api/rate-limits.ts";
import { NO_GRANT } from "../api/rate-limits.ts";
import { unauthorized } from "../protocol/errors.ts";
import { estimateTurnTokens } from "../protocol/token-estimate.ts";
import type { Env } from "./env.ts";
import { assertCurrent } from "./keys/authorize.ts";
import { keyOf, takeOf } from "./limits/edge-limits.ts";

export interface AdmittedQuestion {
  request: SessionTurnRequest;
  grant: Grant;
}

/** @throws ApiError 401, 403 or 429 */
export async function admitQuestion(
  env: Env,
  session: { owner: string | null; model: string },
  request: SessionTurnRequest,
): Promise<AdmittedQuestion> {
  const keyId = keyOfOwner(session.owner);
  if (keyId === null) return { request, grant: NO_GRANT };
  const key = keyOf(env, keyId);
  if (key === null) throw unauthorized();
  assertCurrent(key, Date.now());
  assertMayUse({ keyId, models: key.models }, session.model);
  const { question } = request;
  const content = question.kind === "regenerate" ? "" : question.content;
  const numTokens = estimateTurnTokens(content, request.request.maxTokens);
  const grant = await takeOf(env, keyId, numTokens);
  return { request: { ...request, charge: { keyId, numTokens } }, grant };
}
