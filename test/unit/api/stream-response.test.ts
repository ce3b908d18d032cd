import { describe, expect, test, vi } from "vitest";
import { collectAnswer } from "../../../src/api/collect-answer.ts";
import { streamResponse } from "../../../src/api/stream-response.ts";
import { internalError } from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { KEEP_ALIVE_MS } from "../../../src/protocol/limits.ts";
import { chatStream } from "../../../src/protocol/openai/chat-response.ts";
import { SSE_PING } from "../../../src/protocol/sse.ts";
import { answer, delta, done, finish, start } from "../protocol/events.ts";
import { readSse } from "../protocol/sse-reader.ts";
import { ManualClock, ScriptedEvents, type Step } from "./scripted-host.ts";

function respond(steps: Step[], events = new ScriptedEvents(steps)) {
  const clock = new ManualClock();
  const abort = new AbortController();
  const encoder = chatStream({ id: "x", createdS: 1, numChoices: 1, includeUsage: false });
  const describeCause = vi.fn(() => internalError("r1"));
  const response = streamResponse(events, encoder, { clock, signal: abort.signal, describe: describeCause });
  const reader = response.body!.getReader();
  const read = async () => {
    const { done: isOver, value } = await reader.read();
    return isOver ? null : new TextDecoder().decode(value);
  };
  const readAll = async () => {
    let text = "";
    for (let piece = await read(); piece !== null; piece = await read()) text += piece;
    return text;
  };
  return { events, clock, abort, response, reader, read, readAll, describeCause };
}

/** A promise of an event, and what keeps it. */
function later(): { event: Promise<GenerateEvent>; resolve: (event: GenerateEvent) => void } {
  let resolve: (event: GenerateEvent) => void = () => {};
  const event = new Promise<GenerateEvent>((keep) => {
    resolve = keep;
  });
  return { event, resolve };
}

/** Lets every promise that can settle do so. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("back-pressure", () => {
  test("nothing is asked of the engine before somebody reads", async () => {
    const { events } = respond(answer("a", "b"));
    await settle();
    expect(events.numNext).toBe(0);
  });

  test("one read, one event, one chunk", async () => {
    const { events, read } = respond(answer("a", "b"));
    for (let i = 1; i <= 3; i++) {
      expect(await read()).toMatch(/^data: .*\n\n$/);
      await settle();
      expect(events.numNext).toBe(i);
    }
  });

  test("events without text are passed over", async () => {
    const { events, read } = respond([start(), delta(""), delta(""), delta("a"), finish(), done()]);
    await read();
    expect(await read()).toContain('"content":"a"');
    expect(events.numNext).toBe(4);
  });

  test("the end comes with the last event, and no timer is left", async () => {
    const { clock, events, readAll } = respond(answer("a"));
    expect(readSse(await readAll()).chunks).toHaveLength(3);
    expect([events.numNext, events.numCancel, clock.numTimers]).toEqual([4, 0, 0]);
  });

  test("a reader with buffers of its own gets everything, too", async () => {
    const { response, reader } = respond(answer("Hello", " 🦀"));
    reader.releaseLock();
    const byob = response.body!.getReader({ mode: "byob" });
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done: isOver, value } = await byob.read(new Uint8Array(7));
      if (isOver) break;
      text += decoder.decode(value, { stream: true });
    }
    expect(
      readSse(text)
        .chunks.map((chunk) => chunk.choices[0]!.delta!.content ?? "")
        .join(""),
    ).toBe("Hello 🦀");
  });
});

describe("events that are there together", () => {
  /** The first of them has to be waited for. */
  class ReadyEvents extends ScriptedEvents {
    readonly #ready: GenerateEvent[];

    constructor([first, ...ready]: GenerateEvent[]) {
      super([first!]);
      this.#ready = ready;
    }

    poll(): GenerateEvent | null {
      return this.#ready.shift() ?? null;
    }
  }

  test.each([
    ["the last one among them", answer("a", "b"), 1],
    ["none of them the last", answer("a", "b").slice(0, -1), 2],
  ])("leave in one chunk, with %s", async (_, events, numReads) => {
    const source = new ReadyEvents(events);
    const { read, clock } = respond([], source);
    const alone = respond(events);
    const chunk = await read();
    expect(chunk).toBe((await alone.readAll()).slice(0, chunk!.length));
    expect(chunk).toContain('"b"');
    expect(chunk!.includes("[DONE]")).toBe(numReads === 1);
    if (numReads === 1) expect(await read()).toBe(null);
    expect(source.numNext).toBe(1);
    expect(clock.numTimers).toBe(numReads - 1);
  });
});

describe("a silent engine", () => {
  test("is bridged by pings, one for each read, and no event is lost", async () => {
    const silence = later();
    const { clock, events, read, readAll } = respond([start(), silence.event, finish(), done()]);
    await read();
    for (let i = 0; i < 3; i++) {
      const piece = read();
      await settle();
      clock.advance(KEEP_ALIVE_MS - 1);
      await settle();
      clock.advance(1);
      expect(await piece).toBe(SSE_PING);
    }
    expect(events.numNext).toBe(2);
    silence.resolve(delta("at last"));
    expect(await readAll()).toContain("at last");
    expect(clock.numTimers).toBe(0);
  });

  test("writes no ping that nobody reads", async () => {
    const silence = later();
    const { clock, read } = respond([start(), silence.event]);
    await read();
    await settle();
    clock.advance(10 * KEEP_ALIVE_MS);
    expect(clock.numTimers).toBe(0);
    const piece = read();
    await settle();
    clock.advance(KEEP_ALIVE_MS - 1);
    silence.resolve(delta("not silent"));
    expect(await piece).toContain("not silent");
  });

  test("is one that says nothing since it was last read, not since the timer was wound", async () => {
    const [first, second] = [later(), later()];
    const { clock, read } = respond([start(), first.event, second.event]);
    await read();
    let piece = read();
    await settle();
    clock.advance(KEEP_ALIVE_MS / 2);
    first.resolve(delta("a"));
    expect(await piece).toContain("a");
    piece = read();
    await settle();
    clock.advance(KEEP_ALIVE_MS / 2);
    clock.advance(KEEP_ALIVE_MS / 2 - 1);
    await settle();
    expect(clock.numTimers).toBe(1);
    clock.advance(1);
    expect(await piece).toBe(SSE_PING);
  });
});

describe("a reader that goes away", () => {
  test("by cancelling stops the engine once and at once, though it is silent", async () => {
    const { clock, events, read, reader } = respond([start(), later().event]);
    await read();
    const pending = read();
    await settle();
    await reader.cancel();
    await pending;
    expect([events.numCancel, clock.numTimers]).toEqual([1, 0]);
  });

  test("by aborting stops the engine once and fails the read", async () => {
    const { abort, clock, events, read } = respond([start(), later().event]);
    await read();
    const pending = read();
    await settle();
    abort.abort();
    await expect(pending).rejects.toThrow("aborted");
    expect([events.numCancel, clock.numTimers]).toEqual([1, 0]);
  });

  test("both ways counts once", async () => {
    const { abort, events, read, reader } = respond([start(), later().event]);
    await read();
    abort.abort();
    await reader.cancel().catch(() => {});
    expect(events.numCancel).toBe(1);
  });

  test("before the first read", async () => {
    const { abort, events } = respond(answer("a"));
    abort.abort();
    expect([events.numNext, events.numCancel]).toEqual([0, 1]);
  });

  test("before there was a stream", () => {
    const events = new ScriptedEvents(answer("a"));
    const encoder = chatStream({ id: "x", createdS: 1, numChoices: 1, includeUsage: false });
    const context = { clock: new ManualClock(), signal: AbortSignal.abort(), describe: () => internalError("r") };
    streamResponse(events, encoder, context);
    expect(events.numCancel).toBe(1);
  });

  test("after the end is nobody's business", async () => {
    const { abort, events, reader, readAll } = respond(answer("a"));
    await readAll();
    abort.abort();
    await reader.cancel();
    expect(events.numCancel).toBe(0);
  });

  test("while the engine fails: the fault is nobody's, too", async () => {
    let fail: (cause: Error) => void = () => {};
    const failing = new Promise<GenerateEvent>((_, reject) => {
      fail = reject;
    });
    const { describeCause, events, read, reader } = respond([start(), failing]);
    await read();
    const pending = read();
    await settle();
    await reader.cancel();
    fail(new Error("cut"));
    await pending;
    await settle();
    expect([events.numCancel, describeCause.mock.calls.length]).toEqual([1, 0]);
  });
});

describe("a whole answer", () => {
  test("is cancelled once when the client goes, and is no bug", async () => {
    const abort = new AbortController();
    const silence = later();
    const events = new ScriptedEvents([start(), silence.event]);
    const collected = collectAnswer(events, 1, abort.signal);
    await settle();
    abort.abort();
    expect(events.numCancel).toBe(1);
    silence.resolve(delta("too late"));
    await expect(collected).rejects.toMatchObject({ status: 499 });
    expect(events.numCancel).toBe(1);
  });

  test("is cancelled when the client went while it was admitted", async () => {
    const events = new ScriptedEvents(answer("a"));
    await expect(collectAnswer(events, 1, AbortSignal.abort())).rejects.toMatchObject({ status: 499 });
    expect(events.numCancel).toBe(1);
  });

  test("is not cancelled after its end", async () => {
    const abort = new AbortController();
    const events = new ScriptedEvents(answer("a"));
    expect((await collectAnswer(events, 1, abort.signal)).choices[0]!.text).toBe("a");
    abort.abort();
    expect(events.numCancel).toBe(0);
  });
});
