/** An event stream whose reader has it measured on the way. */
import { ApiError } from "../protocol/errors.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import type { EventStream } from "./model-service.ts";
import type { RequestMeter } from "./request-meter.ts";

export function meteredEvents(events: EventStream, meter: RequestMeter): EventStream {
  const seen = (event: GenerateEvent | null) => {
    if (event !== null) meter.observe(event);
    return event;
  };
  return {
    ...events,
    next: async () => {
      try {
        const event = seen(await events.next());
        if (event === null) meter.failed("ended_early");
        return event;
      } catch (cause) {
        meter.failed(errorCode(cause));
        throw cause;
      }
    },
    poll: () => seen(events.poll?.() ?? null),
    cancel: () => {
      meter.aborted("client");
      events.cancel();
    },
  };
}

export function errorCode(cause: unknown): string {
  return (cause instanceof ApiError ? cause.code : null) ?? "internal_error";
}
