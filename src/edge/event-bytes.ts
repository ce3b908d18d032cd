/**
 * Generation events across the RPC border between a Durable Object and the Worker: NDJSON in a byte stream, the only
 * kind of stream that RPC carries, with its flow control and its cancellation.
 *
 * The writer is pull-based with no buffer of its own: a reader that goes away is noticed with the next token, and one
 * that is slow costs a chunk. Events that are ready leave together, so a step that made several costs one chunk.
 */
import type { EventStream } from "../api/model-service.ts";
import { errorEventOf } from "../protocol/error-event.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import { encodeNdjson, NdjsonDecoder } from "../protocol/ndjson.ts";
import type { Generation } from "../serving/language-model.ts";
import { toApiError } from "./rpc-result.ts";
import { EVENTS_PER_CHUNK_MAX, type Turn } from "./turn.ts";

/**
 * A generation that lives and dies with its reader: pulling drives the engine, cancelling aborts.
 *
 * @param nextEvents all events that are ready, stepping the engine where there are none; empty after the last
 * @param ended called once, when its last event leaves or its reader is gone
 */
export function generationBytes(
  generation: Generation,
  nextEvents: () => Promise<GenerateEvent[]>,
  ended: () => void = () => {},
): ReadableStream<Uint8Array> {
  let hasEnded = false;
  const end = () => {
    if (!hasEnded) ended();
    hasEnded = true;
  };
  const abort = () => {
    generation.abort();
    end();
  };
  return bytesOf(async () => {
    try {
      const events = await nextEvents();
      // Whoever has the last event may never ask again.
      if (events.length === 0 || isLast(events.at(-1)!)) end();
      return events;
    } catch (cause) {
      abort();
      return [errorEventOf(toApiError(generation.requestId, cause))];
    }
  }, abort);
}

/**
 * A turn seen by one reader; the turn goes on when the reader leaves.
 *
 * @param position events that the reader has
 */
export function turnBytes(turn: Turn, position: number): ReadableStream<Uint8Array> {
  const reader = turn.reader(position);
  return bytesOf(
    () => reader.next(),
    () => {},
  );
}

/** Events that are all there. */
export function storedBytes(events: readonly GenerateEvent[]): ReadableStream<Uint8Array> {
  const rest = [...events];
  return bytesOf(
    async () => rest.splice(0, EVENTS_PER_CHUNK_MAX),
    () => {},
  );
}

/** The receiving side: what the routes read. */
export function eventsFrom(bytes: ReadableStream<Uint8Array>): EventStream {
  const reader = bytes.getReader();
  const decoder = new NdjsonDecoder<GenerateEvent>();
  const queue: GenerateEvent[] = [];
  return {
    next: async () => {
      while (queue.length === 0) {
        const { done, value } = await reader.read();
        if (done) {
          decoder.end();
          return null;
        }
        queue.push(...decoder.push(value));
      }
      return queue.shift() ?? null;
    },
    poll: () => queue.shift() ?? null,
    // The stream may be closed or broken already; either way nothing is left to stop.
    cancel: () => void reader.cancel().catch(() => {}),
  };
}

function isLast({ type }: GenerateEvent): boolean {
  return type === "done" || type === "error";
}

/** @param nextEvents events that are ready, waiting for the first; empty at the end */
function bytesOf(nextEvents: () => Promise<GenerateEvent[]>, cancel: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream(
    {
      type: "bytes",
      async pull(controller) {
        const events = await nextEvents();
        if (events.length > 0) {
          controller.enqueue(encodeNdjson(events));
          return;
        }
        controller.close();
        // A reader that brought its own buffer gets it back empty.
        controller.byobRequest?.respond(0);
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}
