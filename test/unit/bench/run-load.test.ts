/** Sending by the clock, and reading streams: with a clock of its own, so that no test waits. */
import { describe, expect, test } from "vitest";
import { failedOutcome, type RequestOutcome } from "../../../scripts/bench/load/outcome.ts";
import { type LoadClock, runLoad } from "../../../scripts/bench/load/run-load.ts";
import { servingMetrics } from "../../../scripts/bench/load/serving-metrics.ts";
import { type LoadTarget, streamRequest } from "../../../scripts/bench/load/stream-request.ts";
import { CHAT, scriptedHost } from "../api/scripted-host.ts";
import { answer, delta, done, fault, finish, start } from "../protocol/events.ts";

/** Jumps to the next time that somebody waits for, when nothing else is left to do. */
class JumpingClock implements LoadClock {
  #nowMs = 5000;
  readonly #waiting: { atMs: number; wake: () => void }[] = [];
  #isPumping = false;

  nowMs(): number {
    return this.#nowMs;
  }

  async until(timeMs: number): Promise<void> {
    if (timeMs <= this.#nowMs) return;
    const reached = new Promise<void>((wake) => this.#waiting.push({ atMs: timeMs, wake }));
    void this.#pump();
    await reached;
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#waiting.length > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#waiting.sort((a, b) => a.atMs - b.atMs);
      const next = this.#waiting.shift()!;
      this.#nowMs = next.atMs;
      next.wake();
    }
    this.#isPumping = false;
  }
}

/** Answers after as many milliseconds as the request says. */
function load(delaysMs: number[], arrivalsMs: number[], maxConcurrency: number, onDone?: (numDone: number) => void) {
  const clock = new JumpingClock();
  const send = async (delayMs: number, times: { startMs: number; queueMs: number }): Promise<RequestOutcome> => {
    await clock.until(clock.nowMs() + delayMs);
    return { ...failedOutcome(times.startMs, times.queueMs, ""), error: null, latencyMs: delayMs, outputTokens: 1 };
  };
  return runLoad({ requests: delaysMs, arrivalsMs, maxConcurrency, clock, send, ...(onDone && { onDone }) });
}

describe("a load", () => {
  test("is sent at its times, answers or no answers", async () => {
    const done: number[] = [];
    const { outcomes, durationMs } = await load([1000, 10, 10], [0, 100, 250], Number.POSITIVE_INFINITY, (numDone) =>
      done.push(numDone),
    );
    expect(outcomes.map(({ startMs, queueMs }) => [startMs, queueMs])).toEqual([
      [0, 0],
      [100, 0],
      [250, 0],
    ]);
    expect(durationMs).toBe(1000);
    expect(done).toEqual([1, 2, 3]);
  });

  test("with a bound waits at the client, in the order of arrival, and says how long", async () => {
    const { outcomes, durationMs } = await load([300, 100, 100, 100], [0, 10, 20, 30], 2);
    expect(outcomes.map(({ startMs, queueMs }) => [startMs, queueMs])).toEqual([
      [0, 0],
      [10, 0],
      [110, 90],
      [210, 180],
    ]);
    expect(durationMs).toBe(310);
    expect(servingMetrics({ outcomes, durationMs }).peakConcurrency).toBe(2);
  });

  test("all at once with a bound of one runs one after another", async () => {
    const { outcomes } = await load([50, 50, 50], [0, 0, 0], 1);
    expect(outcomes.map(({ startMs }) => startMs)).toEqual([0, 50, 100]);
  });
});

/** A clock that goes on by one millisecond with every look at it. */
function target(endpoint: LoadTarget["endpoint"], respond: LoadTarget["fetch"]): LoadTarget {
  let nowMs = 0;
  return {
    baseUrl: "http://server.test/v1",
    endpoint,
    headers: { authorization: "Bearer k" },
    fields: { model: CHAT.model, ignore_eos: true },
    fetch: respond,
    nowMs: () => nowMs++,
  };
}

const ask = (to: LoadTarget, prompt: string | number[] = [11, 12]) =>
  streamRequest(to, prompt, 8, { startMs: 70, queueMs: 5, promptTokens: 2 });

const stream = (text: string) => async () => new Response(text, { headers: { "content-type": "text/event-stream" } });
const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;

describe("a streamed request", () => {
  test.each(["completions", "chat"] as const)("to our own API: %s", async (endpoint) => {
    const host = scriptedHost();
    host.models.script = answer("a", "b", "c");
    const to = target(endpoint, async (url, init) => host.app.request(new URL(url).pathname, init));
    const outcome = await ask(to, endpoint === "chat" ? "ba" : [11, 12]);
    // The clock is looked at when sending and for each event: three tokens, besides what opens and closes a stream.
    expect(outcome.error).toBeNull();
    expect(outcome).toMatchObject({ startMs: 70, queueMs: 5, promptTokens: 7, cachedTokens: 4, outputTokens: 3 });
    expect(outcome.itlMs).toEqual([1, 1]);
    expect(outcome.latencyMs).toBe(outcome.ttftMs + 2);
    const { request } = host.models.requests[0]!;
    expect(request).toMatchObject({ ignoreEos: true, maxTokens: 8 });
  });

  test("that is refused, or breaks in the middle, is an error with the server's words", async () => {
    const host = scriptedHost();
    const to = target("completions", async (url, init) => host.app.request(new URL(url).pathname, init));
    host.models.script = [start(), delta("a"), fault()];
    expect((await ask(to)).error).toContain("Internal error. Request id: r1");
    expect((await ask(to, [])).error).toMatch(/^HTTP 400: .*prompt/);
    const refused = target("completions", async () => {
      throw new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") });
    });
    expect((await ask(refused)).error).toBe("fetch failed: ECONNREFUSED");
  });

  test("counts a token without text, but neither a chat's opening chunk nor a closing one", async () => {
    const choice = (delta: object, reason: string | null = null) => ({ choices: [{ delta, finish_reason: reason }] });
    const text = [
      choice({ role: "assistant", content: "" }),
      choice({ content: "a" }),
      choice({ content: "" }),
      choice({ content: "b" }, "length"),
      choice({}, "length"),
    ].map(event);
    const outcome = await ask(target("chat", stream(`${text.join("")}data: [DONE]\n\n`)), "ba");
    // Looks at the clock: 0 sending, 1 opening, then the tokens.
    expect(outcome).toMatchObject({ ttftMs: 2, latencyMs: 4, itlMs: [1, 1], outputTokens: 3, promptTokens: 2 });
  });

  test("whose only token has no text is an answer", async () => {
    const text = `${event({ choices: [{ text: "", finish_reason: "stop" }] })}data: [DONE]\n\n`;
    expect(await ask(target("completions", stream(text)))).toMatchObject({ error: null, outputTokens: 1, itlMs: [] });
  });

  test("is read whatever its line ends, comments and spaces", async () => {
    const text = `: hello\r\n\r\ndata:{"choices":[{"text":"a"}]}\r\n\r\nevent: x\ndata: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\r\n\r\ndata: [DONE]\r\n\r\n`;
    expect(await ask(target("completions", stream(text)))).toMatchObject({ promptTokens: 9, outputTokens: 5 });
  });

  test("without an end, or without a token, has failed", async () => {
    const cut = stream(event({ choices: [{ text: "a" }] }));
    expect((await ask(target("completions", cut))).error).toBe("The stream was cut off.");
    const empty = stream("data: [DONE]\n\n");
    expect((await ask(target("completions", empty))).error).toBe("The stream ended without a token.");
    const host = scriptedHost();
    host.models.script = [start(), finish(), done()];
    const silent = target("completions", async (url, init) => host.app.request(new URL(url).pathname, init));
    expect((await ask(silent)).error).toBeNull();
  });
});
