/** A response is stored before its reader sees the end, whichever way the reader takes events. */
import { expect, test } from "vitest";
import { KeptEvents } from "../../../src/api/kept-events.ts";
import type { EventStream } from "../../../src/api/model-service.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import type { ResponseBody } from "../../../src/protocol/responses/response-body.ts";
import { answer, delta, fault, start } from "../protocol/events.ts";
import { FRAME } from "../protocol/responses/frames.ts";

/** All events are here already. */
function eventsOf(list: GenerateEvent[]): EventStream & { numCancel: number } {
  const rest = [...list];
  return {
    numCancel: 0,
    next: async () => rest.shift() ?? null,
    poll: () => rest.shift() ?? null,
    cancel() {
      this.numCancel++;
    },
  };
}

test("by waiting for each", async () => {
  const kept: ResponseBody[] = [];
  const events = new KeptEvents(eventsOf(answer("a")), FRAME, async (body) => void kept.push(body));
  for (let i = 0; i < 3; i++) await events.next();
  expect(kept).toHaveLength(0);
  expect(await events.next()).toMatchObject({ type: "done" });
  expect(kept).toMatchObject([{ status: "completed", output: [{ content: [{ text: "a" }] }] }]);
  expect(await events.next()).toBeNull();
});

test("by taking what is here: the last one has to be waited for", async () => {
  let store = () => {};
  const events = new KeptEvents(eventsOf(answer("a")), FRAME, () => new Promise((resolve) => (store = resolve)));
  const polled = [events.poll(), events.poll(), events.poll(), events.poll(), events.poll()];
  expect(polled.map((event) => event?.type ?? null)).toEqual(["start", "delta", "finish", null, null]);
  let isTold = false;
  const last = events.next().then((event) => {
    isTold = true;
    return event;
  });
  await Promise.resolve();
  expect(isTold).toBe(false);
  store();
  expect(await last).toMatchObject({ type: "done" });
});

test("a fault of the storage is one of the answer", async () => {
  const events = new KeptEvents(eventsOf(answer("a")), FRAME, () => Promise.reject(new Error("full")));
  for (let i = 0; i < 3; i++) await events.next();
  await expect(events.next()).rejects.toThrow("full");
});

test("nothing is stored of an answer that failed or was given up", async () => {
  let numKept = 0;
  const keep = async () => void numKept++;
  const failed = new KeptEvents(eventsOf([start(), delta("a"), fault()]), FRAME, keep);
  while ((await failed.next()) !== null);
  const inner = eventsOf(answer("a"));
  const left = new KeptEvents(inner, FRAME, keep);
  await left.next();
  left.cancel();
  expect(inner.numCancel).toBe(1);
  expect(numKept).toBe(0);
});
