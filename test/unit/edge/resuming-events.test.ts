import { expect, test } from "vitest";
import type { EventStream } from "../../../src/api/model-service.ts";
import { resumingEvents } from "../../../src/edge/resuming-events.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { answer } from "../protocol/events.ts";

const EVENTS = answer("a", "b", "c", "d");

/** Gives some events, then breaks or just ends. */
function connection(events: GenerateEvent[], end: Error | null): EventStream & { numCancel: number } {
  const rest = [...events];
  return {
    numCancel: 0,
    next: async () => {
      const event = rest.shift();
      if (event === undefined && end !== null) throw end;
      return event ?? null;
    },
    cancel() {
      this.numCancel++;
    },
  };
}

async function readAll(stream: EventStream): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for (let event = await stream.next(); event !== null; event = await stream.next()) events.push(event);
  return events;
}

test.each([new Error("reset"), null])(
  "a connection that ends early (%s) is opened again where it ended",
  async (end) => {
    const asked: number[] = [];
    const stream = resumingEvents(connection(EVENTS.slice(0, 1), end), async (numRead) => {
      asked.push(numRead);
      return connection(EVENTS.slice(numRead, numRead + 2), end);
    });
    expect(await readAll(stream)).toEqual(EVENTS);
    expect(asked).toEqual([1, 3, 5]);
  },
);

test("events that were there already count as read", async () => {
  const asked: number[] = [];
  const rest = EVENTS.slice(1, 3);
  const first = { ...connection(EVENTS.slice(0, 1), new Error("reset")), poll: () => rest.shift() ?? null };
  const stream = resumingEvents(first, async (numRead) => {
    asked.push(numRead);
    return { ...connection(EVENTS.slice(numRead, -1), null), poll: () => EVENTS.at(-1)! };
  });
  const read = [await stream.next(), stream.poll!(), stream.poll!(), stream.poll!()];
  expect(read).toEqual([...EVENTS.slice(0, 3), null]);
  for (let i = 3; i < EVENTS.length - 1; i++) expect(await stream.next()).toEqual(EVENTS[i]);
  expect([stream.poll!(), stream.poll!(), asked]).toEqual([EVENTS.at(-1), null, [3]]);
});

test("an object that does not come back is given up after some tries", async () => {
  let numOpened = 0;
  const broken = () => connection([], new Error("reset"));
  const stream = resumingEvents(broken(), async () => {
    numOpened++;
    return broken();
  });
  await expect(stream.next()).rejects.toThrow("reset");
  expect(numOpened).toBe(3);
});

test("who has left gets nothing more, also while a connection is being opened", async () => {
  const second = connection(EVENTS, null);
  const stream: EventStream = resumingEvents(connection([], new Error("reset")), async () => {
    stream.cancel();
    return second;
  });
  await stream.next();
  expect(second.numCancel).toBe(1);
});
