/**
 * A conversation that does not fit the context, asked for without its oldest turns: as few are left out as need be. The
 * model says what fits, so the cut is found by asking, and by halving, since each further cut leaves less.
 */
import { possibleCuts, withoutOldest } from "../protocol/conversation-cuts.ts";
import { ApiError } from "../protocol/errors.ts";
import type { ChatMessage } from "../protocol/generate.ts";
import type { EventStream } from "./model-service.ts";

/** @throws ApiError where not even the last turn fits, and whatever else `ask` throws */
export async function generateTruncated(
  messages: readonly ChatMessage[],
  ask: (messages: ChatMessage[]) => Promise<EventStream>,
): Promise<EventStream> {
  const cuts = [0, ...possibleCuts(messages)];
  const whole = await unlessTooLong(() => ask([...messages]));
  if (whole !== null) return whole;
  let found: EventStream | null = null;
  for (let low = 1, high = cuts.length - 1; low <= high; ) {
    const middle = (low + high) >> 1;
    const fitting = await unlessTooLong(() => ask(withoutOldest(messages, cuts[middle]!)));
    if (fitting === null) low = middle + 1;
    else {
      found?.cancel();
      found = fitting;
      high = middle - 1;
    }
  }
  return found ?? ask(withoutOldest(messages, cuts.at(-1)!));
}

async function unlessTooLong(ask: () => Promise<EventStream>): Promise<EventStream | null> {
  try {
    return await ask();
  } catch (cause) {
    if (cause instanceof ApiError && cause.code === "context_length_exceeded") return null;
    throw cause;
  }
}
