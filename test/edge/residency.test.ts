/** Which models are in memory: loading races, readers that leave while it loads, and room for another model. */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { addTinyModel, answerOf, chat, chunksOf, errorOf, post, request, statsOf } from "./stack.ts";

/** One context of it takes 34 MB of KV: two do not fit into the 40 MB that the tests' budget leaves. */
const WIDE = { numHeads: 4, numKvHeads: 4, headDim: 128, contextLength: 8192 };

beforeAll(async () => {
  await addTinyModel("wide-a", { ...WIDE, seed: 1 });
  await addTinyModel("wide-b", { ...WIDE, seed: 2 });
});

const isLoaded = (model: string) => {
  try {
    return isolateEngine.report(env, model) !== undefined;
  } catch {
    return false;
  }
};

describe("loading", () => {
  test("asked for by many at once happens once, and all are answered", async () => {
    await addTinyModel("race");
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => answerOf(await post("/v1/chat/completions", chat("race", `${i}`, 6)))),
    );
    for (const { usage } of answers) expect(usage.completion_tokens).toBe(6);
    expect(statsOf("race").numRunning).toBe(0);
  });

  test("goes on for the others when the one who began it leaves", async () => {
    await addTinyModel("left");
    const gone = new AbortController();
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify(chat("left", "I began", 400));
    const first = request("/v1/chat/completions", { method: "POST", headers, body, signal: gone.signal }).then(
      (response) => response.text(),
      (error: unknown) => error,
    );
    const others = [1, 2, 3].map(async (i) => answerOf(await post("/v1/chat/completions", chat("left", `${i}`, 6))));
    gone.abort();
    for (const { usage } of await Promise.all(others)) expect(usage.completion_tokens).toBe(6);
    await first;
  });
});

describe("two models that do not fit side by side", () => {
  test("take turns: the idle one makes room", async () => {
    await answerOf(await post("/v1/chat/completions", chat("wide-a", "Hi", 4)));
    expect([isLoaded("wide-a"), isLoaded("wide-b")]).toEqual([true, false]);
    await answerOf(await post("/v1/chat/completions", chat("wide-b", "Hi", 4)));
    expect([isLoaded("wide-a"), isLoaded("wide-b")]).toEqual([false, true]);
  });

  test("the busy one stays, and the other is told to retry", async () => {
    const running = chunksOf(await post("/v1/chat/completions", chat("wide-b", "a long answer", 2000)));
    await running.next();
    const refused = await post("/v1/chat/completions", chat("wide-a", "Hi", 4));
    expect(refused.headers.get("retry-after")).toBe("2");
    const error = await errorOf(refused);
    expect(error).toMatchObject({ status: 503, code: "model_unavailable" });
    expect(error.message).toContain("does not fit in memory beside wide-b");
    await running.return();
    await scheduler.wait(50);
    const answer = await answerOf(await post("/v1/chat/completions", chat("wide-a", "Hi", 4)));
    expect(answer.usage.completion_tokens).toBe(4);
  });

  test("what is planned for all that is loaded stays within the budget", () => {
    const { memory } = isolateEngine.report(env, "wide-a");
    expect(memory.budgetBytes).toBe(64_000_000);
    expect(memory.plannedBytes).toBeLessThanOrEqual(40_000_000);
    expect(memory.plannedBytes).toBeGreaterThanOrEqual(memory.weightsBytes + memory.kvBytes + memory.scratchBytes);
  });
});

test("a model that replaces another under its name answers instead of it", async () => {
  await addTinyModel("replaced", { seed: 1 });
  const before = await answerOf(await post("/v1/chat/completions", chat("replaced", "Hi", 24)));
  await addTinyModel("replaced", { seed: 2 });
  const deadlineMs = Date.now() + 15_000;
  let after = before;
  while (after.text === before.text && Date.now() < deadlineMs) {
    await scheduler.wait(500);
    after = await answerOf(await post("/v1/chat/completions", chat("replaced", "Hi", 24)));
  }
  expect(after.text).not.toBe(before.text);
});
