/**
 * The whole answer of an event stream. A client that goes away cancels it as soon as the host says so. The local workerd
 * (2026-11-17, measured) says nothing before the first byte is written when a client closes with a plain FIN: there such
 * an answer runs to its end. A streamed one notices with its next chunk.
 */
import { type Answer, AnswerCollector } from "../protocol/answer.ts";
import { clientClosedRequest } from "../protocol/errors.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import { Cancellation } from "./cancellation.ts";
import type { EventStream } from "./model-service.ts";

export async function collectAnswer(events: EventStream, numChoices: number, signal: AbortSignal): Promise<Answer> {
  const collector = new AnswerCollector(numChoices);
  await readAnswer(events, signal, (event) => collector.add(event));
  return collector.answer();
}

/** Every event up to the last one. @param take may throw, and ends the generation by it */
export async function readAnswer(
  events: EventStream,
  signal: AbortSignal,
  take: (event: GenerateEvent) => void,
): Promise<void> {
  const cancellation = new Cancellation(events, signal);
  try {
    for (let event = await events.next(); event !== null; event = await events.next()) {
      if (cancellation.isOver) break;
      take(event);
      if (event.type === "done") break;
    }
    if (cancellation.isOver) throw clientClosedRequest();
    cancellation.finish();
  } catch (cause) {
    cancellation.cancel();
    throw cause;
  }
}
