/** Readers that do not read: what they may hold of the isolate, and what that costs the others. */
import { beforeAll, expect, test } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { dropSlowest, UNREAD_BYTES_MAX } from "../../src/edge/slow-readers.ts";
import { EVENTS_PER_CHUNK_MAX } from "../../src/edge/turn.ts";
import type { ApiError } from "../../src/protocol/errors.ts";
import { eventsOf, resume, send, untilIdle } from "./sessions.ts";
import { addTinyModel, answerOf, chat, createSession, errorOf, post, statsOf } from "./stack.ts";

const MODEL = "slow-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

test("who holds the most is dropped when all together hold too much, and nobody before", () => {
  const dropped: string[] = [];
  const reader = (name: string, unreadBytes: number) => ({
    unreadBytes,
    drop: (error: ApiError) => void dropped.push(`${name} ${error.code}`),
  });
  dropSlowest([]);
  dropSlowest([reader("a", UNREAD_BYTES_MAX / 2), reader("b", UNREAD_BYTES_MAX / 2)]);
  expect(dropped).toEqual([]);
  dropSlowest([reader("a", 10), reader("b", UNREAD_BYTES_MAX), reader("c", 0)]);
  expect(dropped).toEqual(["b reader_too_slow"]);
});

test("a stream that nobody reads is made by the steps of others, and ends with an error when it holds too much", async () => {
  const fields = { logprobs: true, top_logprobs: 20, prompt_cache_key: "slow" };
  const stalled = await post("/v1/chat/completions", { ...chat(MODEL, "stalled", 980), ...fields });
  const reader = stalled.body!.getReader();
  await reader.read();
  const done = await answerOf(
    await post("/v1/chat/completions", { ...chat(MODEL, "read", 990), prompt_cache_key: "slow" }),
  );
  expect(done.usage.completion_tokens).toBe(990);
  let text = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    text += new TextDecoder().decode(piece.value);
  }
  expect(text).toContain('"code":"reader_too_slow"');
  // What it held was let go of, and is not sent any more.
  expect(text.length).toBeLessThan(UNREAD_BYTES_MAX / 4);
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

test("what may wait is bounded: the next is told to come back, from a session and without one", async () => {
  const model = await isolateEngine.acquire((await import("cloudflare:workers")).env, MODEL);
  const { numRunning, numWaiting } = model.stats;
  expect([numRunning, numWaiting]).toEqual([0, 0]);
  const { id } = await createSession(MODEL);
  // Nobody reads, so nobody runs: all of them wait.
  const NUM_PLACES = 64 + 8;
  const held = Array.from({ length: NUM_PLACES }, (_, i) =>
    model.generate({
      requestId: `held-${i}`,
      model: MODEL,
      prompts: [{ kind: "text", text: "held" }],
      n: 1,
      sampling: {
        ...{ temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, presencePenalty: 0 },
        ...{ frequencyPenalty: 0, logitBias: [], seed: 1 },
      },
      maxTokens: 4,
      stopStrings: [],
      stopTokenIds: [],
      ignoreEos: true,
      logprobs: null,
      echo: false,
      cacheSalt: "",
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
