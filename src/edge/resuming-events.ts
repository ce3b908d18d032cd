/**
 * The events of a turn over as many connections to its object as it takes: an object that is evicted, reset or deployed
 * anew in mid-answer breaks the connection, and the next one goes on where the last one ended.
 */
import type { EventStream } from "../api/model-service.ts";
import type { GenerateEvent } from "../protocol/generate.ts";

/** In a row without an event between: an object that does not come back is no passing fault. */
const REOPENS_MAX = 3;

/** @param reopen events after the first `numRead` */
export function resumingEvents(first: EventStream, reopen: (numRead: number) => Promise<EventStream>): EventStream {
  let current = first;
  let numRead = 0;
  let numReopens = 0;
  let hasEnded = false;
  let isCancelled = false;

  async function nextOf(stream: EventStream) {
    if (hasEnded) return null;
    const event = await stream.next();
    if (event === null) throw new Error("The object ended a stream before its last event.");
    return event;
  }

  function count(event: GenerateEvent): GenerateEvent {
    numReopens = 0;
    numRead++;
    hasEnded = event.type === "done" || event.type === "error";
    return event;
  }

  return {
    next: async () => {
      for (;;) {
        try {
          const event = await nextOf(current);
          return event === null ? null : count(event);
        } catch (cause) {
          if (isCancelled) return null;
          if (numReopens++ === REOPENS_MAX) throw cause;
          current = await reopen(numRead);
          if (isCancelled) current.cancel();
        }
      }
    },
    poll: () => {
      const event = hasEnded ? null : (current.poll?.() ?? null);
      return event === null ? null : count(event);
    },
    cancel: () => {
      isCancelled = true;
      current.cancel();
    },
  };
}
