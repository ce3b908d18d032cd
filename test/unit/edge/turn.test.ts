/** A turn over a scripted generation: what storage and readers get, from the beginning and after a fault. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CpuBudget } from "../../../src/edge/cpu-budget.ts";
import { EVENTS_PER_CHUNK_MAX, Turn, type TurnReader } from "../../../src/edge/turn.ts";
import { TurnLog } from "../../../src/edge/turn-log.ts";
import { internalError } from "../../../src/protocol/errors.ts";
import { EventOrder } from "../../../src/protocol/event-order.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { delta, done, eventStreams, finish, start } from "../protocol/events.ts";

const WHOLE = [start(), ...Array.from({ length: 100 }, (_, i) => delta(`${i} `)), finish(), done()];
const BUDGET = new CpuBudget(1000, () => 0);
const TIMINGS = { queueMs: 0, ttftMs: 0, totalMs: 0 };

/** Gives `WHOLE` in batches, each when the test lets it. */
function turnAfter(numKnown: number, batchSize: number) {
  const rest = [...WHOLE];
  const saved: GenerateEvent[] = WHOLE.slice(0, numKnown);
  const calls: string[] = [];
  let release = () => {};
  const generation = {
    requestId: "r",
    numPromptTokens: 7,
    next: () => null,
    poll: () => null,
    abort: () => void calls.push("abort"),
    transcript: () => ({ text: "", tokens: [] }),
  };
  const sink = {
    checkpoint: (_text: string, events: GenerateEvent[]) => {
      calls.push(`checkpoint ${events.length}`);
      saved.push(...events);
    },
    ended: (text: string, reason: string, _transcript: unknown, events: GenerateEvent[]) => {
      calls.push(`ended ${reason} ${text.length}`);
      saved.push(...events);
    },
  };
  const host = {
    model: "demo",
    sink,
    nextEvents: async () => {
      await new Promise<void>((resolve) => (release = resolve));
      return rest.splice(0, batchSize);
    },
    describe: () => internalError("r"),
    nowMs: () => 0,
  };
  const turn = new Turn(generation, host, new TurnLog(saved));
  const step = async () => {
    release();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { turn, step, saved, calls, rest, generation, sink };
}

async function readAll(reader: TurnReader): Promise<GenerateEvent[]> {
  const all: GenerateEvent[] = [];
  for (let events = await reader.next(); events.length > 0; events = await reader.next()) all.push(...events);
  return all;
}

test.each([0, 1, 40, 100])(
  "storage and every reader have the whole, each event once (after %i known)",
  async (numKnown) => {
    const { turn, step, saved, calls, rest } = turnAfter(numKnown, 7);
    const readers = [0, 13, 60].map((position) => readAll(turn.reader(position)));
    const running = turn.run(BUDGET);
    while (rest.length > 0) await step();
    await running;
    const [whole, ...later] = await Promise.all([...readers, readAll(turn.reader(99))]);
    expect(whole).toEqual(WHOLE);
    expect(later).toEqual([WHOLE.slice(13), WHOLE.slice(60), WHOLE.slice(99)]);
    expect(saved).toEqual(WHOLE);
    expect(calls.filter((call) => call.startsWith("ended"))).toEqual(["ended stop 290"]);
    for (const call of calls)
      if (call.startsWith("checkpoint")) expect(Number(call.split(" ")[1])).toBeGreaterThanOrEqual(32);
  },
);

test("one that is stopped before it has caught up tells how it ended, to who is ahead of it, too", async () => {
  const { turn, step, saved, calls } = turnAfter(40, 7);
  const readers = [readAll(turn.reader(0)), readAll(turn.reader(66))];
  const running = turn.run(BUDGET);
  await step();
  turn.stop();
  await step();
  await running;
  const [all, ahead] = await Promise.all(readers);
  expect(all).toEqual(saved);
  expect(all!.map(({ type }) => type).slice(-2)).toEqual(["finish", "done"]);
  expect(ahead).toEqual(all!.slice(-2));
  expect(calls).toEqual(["abort", "ended abort 107"]);
});

test("one that is read late comes in pieces", async () => {
  const { turn, step, rest } = turnAfter(0, 50);
  const running = turn.run(BUDGET);
  while (rest.length > 0) await step();
  await running;
  const reader = turn.reader(3);
  const pieces = [await reader.next(), await reader.next(), await reader.next()];
  expect(pieces.map(({ length }) => length)).toEqual([
    EVENTS_PER_CHUNK_MAX,
    WHOLE.length - 3 - EVENTS_PER_CHUNK_MAX,
    0,
  ]);
  expect(pieces.flat()).toEqual(WHOLE.slice(3));
});

test("the end of a budget stores all there is, and the next one goes on", async () => {
  const { turn, step, saved, calls, rest } = turnAfter(0, 7);
  const whole = readAll(turn.reader(0));
  const spent = new CpuBudget(1, () => 0);
  spent.spend({ numTokens: 1, weightsBytes: 1e9, restoredBytes: 0, isNearlyOver: false });
  let numRuns = 0;
  for (let outcome = "spent"; outcome === "spent"; numRuns++) {
    const running = turn.run(spent);
    await step();
    outcome = await running;
    expect(saved).toEqual(WHOLE.slice(0, WHOLE.length - rest.length));
    expect(outcome).toBe(rest.length > 0 ? "spent" : "ended");
  }
  expect(numRuns).toBe(Math.ceil(WHOLE.length / 7));
  expect(await whole).toEqual(WHOLE);
  expect(calls.at(-1)).toBe("ended stop 290");
});

test("one whose generation is gone goes on with another, and its readers notice nothing", async () => {
  const { turn, step, saved, rest, generation } = turnAfter(0, 10);
  const whole = readAll(turn.reader(0));
  const running = turn.run(BUDGET);
  for (let i = 0; i < 4; i++) await step();
  const left = rest.splice(0);
  await step();
  expect([await running, turn.isLost, turn.log.generatedTokens().length]).toEqual(["lost", true, 38]);
  expect(saved).toEqual(WHOLE.slice(0, 40));
  // It gives everything again.
  rest.push(...WHOLE.slice(0, 40), ...left);
  turn.goOn(generation);
  const again = turn.run(BUDGET);
  while (rest.length > 0) await step();
  expect([await again, turn.isLost]).toEqual(["ended", false]);
  expect(await whole).toEqual(WHOLE);
  expect(saved).toEqual(WHOLE);
});

test("one that is stopped while its end cannot be stored ends for its readers, and says so to who stopped it", async () => {
  const { turn, step, sink } = turnAfter(0, 10);
  const whole = readAll(turn.reader(0));
  const running = turn.run(BUDGET);
  await step();
  sink.ended = () => {
    throw new Error("disk full");
  };
  expect(() => turn.stop()).toThrow("disk full");
  expect((await whole).at(-1)).toMatchObject({ type: "error", code: "internal_error" });
  await step();
  expect(await running).toBe("ended");
});

test("one that can have no other generation ends with the error, once", async () => {
  const { turn, step, saved, calls, rest } = turnAfter(0, 10);
  const whole = readAll(turn.reader(0));
  const running = turn.run(BUDGET);
  await step();
  rest.splice(0);
  await step();
  expect(await running).toBe("lost");
  turn.fail(new Error("no model"));
  expect((await whole).at(-1)).toMatchObject({ type: "error", code: "internal_error" });
  expect(saved).toEqual(await whole);
  expect(calls.filter((call) => call.startsWith("ended"))).toHaveLength(1);
});

test("what ends early is well ordered, wherever it ends", () => {
  fc.assert(
    fc.property(eventStreams, fc.nat(), ({ events }, cut) => {
      const own = events.filter((event) => !("index" in event) || event.index === 0);
      const log = new TurnLog(own.slice(0, cut % own.length));
      const order = new EventOrder(1);
      for (const event of [...log.events, ...log.abortEvents("demo", 3, TIMINGS)]) order.check(event);
      order.end();
    }),
  );
});
