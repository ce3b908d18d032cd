/** Readers that do not read: what they may hold of the isolate, and what that costs the others. */
import { beforeAll, expect, test } from "vitest";
import { boundEvents, EVENT_BYTES_MAX } from "../../src/edge/event-memory.ts";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { EVENTS_PER_CHUNK_MAX } from "../../src/edge/turn.ts";
import type { ApiError } from "../../src/protocol/errors.ts";
import { PLAIN_REQUEST } from "../../src/protocol/plain-request.ts";
import { GREEDY } from "../support/sampling.ts";
import { eventsOf, resume, send, untilIdle } from "./sessions.ts";
import { addTinyModel, answerOf, chat, createSession, errorOf, post, statsOf } from "./stack.ts";

const MODEL = "slow-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

test("who holds the most ends when all together hold too much, and nobody before", () => {
  const dropped: string[] = [];
  const reader = (name: string, heldBytes: number, keepsEvents = false) => ({
    heldBytes,
    keepsEvents,
    endEarly: () => void dropped.push(`${name} ended`),
    drop: (error: ApiError) => void dropped.push(`${name} ${error.code}`),
  });
  boundEvents([]);
  boundEvents([reader("a", EVENT_BYTES_MAX / 2), reader("b", EVENT_BYTES_MAX / 2)]);
  expect(dropped).toEqual([]);
  boundEvents([reader("a", 10), reader("b", EVENT_BYTES_MAX), reader("c", 0)]);
  expect(dropped).toEqual(["b reader_too_slow"]);
  boundEvents([reader("a", EVENT_BYTES_MAX, true), reader("b", 10)]);
  expect(dropped.slice(1)).toEqual(["a ended"]);
});

test("a stream that nobody reads is made by the steps of others, and ends with an error when it holds too much", async () => {
  const fields = { logprobs: true, top_logprobs: 20, prompt_cache_key: "slow" };
  const stalled = [1, 2].map((i) => post("/v1/chat/completions", { ...chat(MODEL, `stalled ${i}`, 980), ...fields }));
  const [reader, other] = (await Promise.all(stalled)).map((response) => response.body!.getReader()) as [
    ReadableStreamDefaultReader<Uint8Array>,
    ReadableStreamDefaultReader<Uint8Array>,
  ];
  await Promise.all([reader.read(), other.read()]);
  const done = await answerOf(
    await post("/v1/chat/completions", { ...chat(MODEL, "read", 990), prompt_cache_key: "slow" }),
  );
  expect(done.usage.completion_tokens).toBe(990);
  const rest = async (of: typeof reader) => {
    let text = "";
    for (let piece = await of.read(); !piece.done; piece = await of.read())
      text += new TextDecoder().decode(piece.value);
    return text;
  };
  const texts = await Promise.all([rest(reader), rest(other)]);
  const dropped = texts.filter((text) => text.includes('"code":"reader_too_slow"'));
  // What it held was let go of, and is not sent any more; there was room for the other one then.
  expect(dropped).toHaveLength(1);
  expect(dropped[0]!.length).toBeLessThan(EVENT_BYTES_MAX / 4);
  expect(texts.filter((text) => text.includes('"finish_reason":"length"'))).toHaveLength(1);
  expect([statsOf(MODEL).numRunning, statsOf(MODEL).numWaiting]).toEqual([0, 0]);
});

test("a session's reader that reads late gets all of it in pieces, and its answer waits for nobody", async () => {
  const { id } = await createSession(MODEL);
  const stalled = await send(id, "late", 300);
  const { messages } = await untilIdle(id);
  expect(messages[1]!.finish_reason).toBe("length");
  const [first] = [await eventsOf(stalled).next()];
  expect(first.value).toContain("delta");
  const numEvents = (await (await resume(id, `${messages[1]!.id}-1`)).text()).split("\n\n").length;
  expect(numEvents).toBeGreaterThan(2 * EVENTS_PER_CHUNK_MAX);
});

test("a session's answer ends with what it has when its events hold too much", async () => {
  const { id } = await createSession(MODEL);
  // Alone it cannot: a context of 1,024 tokens is less than the bound.
  const fields = { logprobs: true, top_logprobs: 20 };
  const other = await createSession(MODEL);
  const both = await Promise.all([send(id, "one", 900, fields), send(other.id, "two", 900, fields)]);
  const answers = await Promise.all(both.map(answerOf));
  const numTokens = answers.map(({ usage }) => usage.completion_tokens).sort((a, b) => a - b);
  expect(numTokens[0]).toBeGreaterThan(400);
  expect(numTokens[0]).toBeLessThan(900);
  expect(numTokens[1]).toBe(900);
  expect(answers.map(({ finishReason }) => finishReason)).toEqual(["length", "length"]);
  for (const each of [id, other.id]) expect((await untilIdle(each)).messages[1]!.finish_reason).toBe("length");
});

test("what may wait is bounded: the next is told to come back, from a session and without one", async () => {
  const model = await isolateEngine.acquire((await import("cloudflare:workers")).env, MODEL);
  const { numRunning, numWaiting } = model.stats;
  expect([numRunning, numWaiting]).toEqual([0, 0]);
  const { id } = await createSession(MODEL);
  // Nobody reads, so nobody runs: all of them wait.
  const NUM_PLACES = 64 + 8;
  const held = Array.from({ length: NUM_PLACES }, (_, i) =>
    model.generate({
      ...PLAIN_REQUEST,
      requestId: `held-${i}`,
      model: MODEL,
      prompts: [{ kind: "text", text: "held" }],
      sampling: { ...GREEDY, seed: 1 },
      maxTokens: 4,
      ignoreEos: true,
    }),
  );
  expect(model.stats.numWaiting).toBe(NUM_PLACES);
  for (const response of [
    await post("/v1/chat/completions", chat(MODEL, "one more", 4)),
    await send(id, "one more", 4),
  ]) {
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await errorOf(response)).toMatchObject({ status: 429, code: "server_overloaded", type: "server_busy" });
  }
  expect((await untilIdle(id)).messages).toEqual([]);
  held.pop()!.abort();
  expect((await answerOf(await send(id, "now", 4))).usage.completion_tokens).toBe(4);
  for (const generation of held) generation.abort();
  expect([model.stats.numRunning, model.stats.numWaiting]).toEqual([0, 0]);
});
