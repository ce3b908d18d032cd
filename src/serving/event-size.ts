/** What events hold of the heap, for bounds on those that nobody has read. Estimates of V8's layout, on the high side. */
import type { GenerateEvent } from "../protocol/generate.ts";

/** Event, strings, a list of ids: objects of five fields with their headers. */
const EVENT_BYTES = 250;
/** A token with its logprob, text and bytes; each alternative of it is as much again. */
const LOGPROB_BYTES = 200;

export function heapBytes(event: GenerateEvent): number {
  switch (event.type) {
    case "prompt":
    case "delta":
    case "reasoning": {
      let numLogprobs = 0;
      for (const { top } of event.tokens ?? []) numLogprobs += 1 + top.length;
      return EVENT_BYTES + 2 * event.text.length + LOGPROB_BYTES * numLogprobs;
    }
    case "toolCall":
      return EVENT_BYTES + 2 * (event.id.length + event.name.length);
    case "toolArguments":
      return EVENT_BYTES + 2 * event.text.length;
    default:
      return EVENT_BYTES;
  }
}
