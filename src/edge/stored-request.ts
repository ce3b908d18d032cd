/** How a turn is made, as it was stored: perhaps by an older deploy, which did not know all fields. */
import type { SessionTurnRequest } from "../api/model-service.ts";

type TurnRequest = SessionTurnRequest["request"];

const NEUTRAL = { constraint: null, minTokens: 0, allowedTokenIds: null, badWords: [] } satisfies Partial<TurnRequest>;

/** Fields that are not there ask for nothing. */
export function withNeutralFields(stored: Partial<TurnRequest>): TurnRequest {
  return { ...NEUTRAL, ...stored } as TurnRequest;
}
