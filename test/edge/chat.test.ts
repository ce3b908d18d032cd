/** Stateless chat through the whole stack, and what concurrent readers, slow ones and gone ones do to the engine. */
import { beforeAll, describe, expect, test } from "vitest";
import { addTinyModel, answerOf, chat, chunksOf, errorOf, post, request, STREAM, statsOf } from "./stack.ts";

const MODEL = "chat-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

describe("one request", () => {
  test("streamed and whole give the same text and the same counts", async () => {
    const body = chat(MODEL, "Hello there", 24);
    const streamed = await answerOf(await post("/v1/chat/completions", body));
    const whole = await post("/v1/chat/completions", { ...body, stream: false, stream_options: undefined });
    expect(whole.status).toBe(200);
    const { choices, usage } = (await whole.json()) as {
      choices: { message: { content: string }; finish_reason: string }[];
      usage: { prompt_tokens: number; completion_tokens: number };
    };
    expect(choices[0]!.message.content).toBe(streamed.text);
    expect(choices[0]!.finish_reason).toBe("length");
    expect(usage).toMatchObject({ prompt_tokens: streamed.usage.prompt_tokens, completion_tokens: 24 });
  });

  test("token ids in, several choices out", async () => {
    const body = {
      model: MODEL,
      prompt: [72, 105, 33],
      max_tokens: 6,
      n: 3,
      temperature: 1,
      seed: 7,
      ignore_eos: true,
    };
    const response = await post("/v1/completions", body);
    expect(response.status).toBe(200);
    const { choices, usage } = (await response.json()) as { choices: unknown[]; usage: Record<string, number> };
    expect(choices).toHaveLength(3);
    expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 18 });
  });

  test("a prompt over the context is refused before the stream, with the numbers", async () => {
    const error = await errorOf(await post("/v1/chat/completions", chat(MODEL, "word ".repeat(2000), 8)));
    expect(error).toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect(error.message).toMatch(/context is 1024 tokens, but the prompt has \d{4}/);
  });

  test("an unknown model is refused with the known ones", async () => {
    const error = await errorOf(await post("/v1/chat/completions", chat("nope", "Hi", 8)));
    expect(error).toMatchObject({ status: 404, code: "model_not_found" });
    expect(error.message).toContain(MODEL);
  });
});

describe("concurrent requests", () => {
  test("four streams share their steps", async () => {
    const numTokens = 48;
    await answerOf(await post("/v1/chat/completions", chat(MODEL, "warm", 1)));
    const before = statsOf(MODEL).numSteps;
    const prompts = ["one fish", "two fish", "red fish", "blue fish"];
    const answers = await Promise.all(
      prompts.map(async (prompt) => answerOf(await post("/v1/chat/completions", chat(MODEL, prompt, numTokens)))),
    );
    for (const { usage } of answers) expect(usage.completion_tokens).toBe(numTokens);
    const numSteps = statsOf(MODEL).numSteps - before;
    // Alone each takes a step for the prompt and one for every further token.
    expect(numSteps).toBeLessThan(2 * numTokens);
  });

  test("a batch mate changes nothing in the text", async () => {
    const alone = await answerOf(await post("/v1/chat/completions", chat(MODEL, "same text please", 32)));
    const [together] = await Promise.all(
      ["same text please", "somebody else", "and another one"].map(async (prompt) =>
        answerOf(await post("/v1/chat/completions", chat(MODEL, prompt, 32))),
      ),
    );
    expect(together!.text).toBe(alone.text);
  });

  test("an equal prompt is found in the prefix cache", async () => {
    const body = chat(MODEL, "a long enough prefix to fill some blocks of the cache ".repeat(3), 4);
    const first = await answerOf(await post("/v1/chat/completions", body));
    const second = await answerOf(await post("/v1/chat/completions", body));
    expect(first.usage.prompt_tokens_details.cached_tokens).toBe(0);
    expect(second.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(second.usage.prompt_tokens - 33);
    expect(second.text).toBe(first.text);
  });
});

describe("a reader that goes away", () => {
  test("ends its generation within a few tokens and frees its blocks", async () => {
    const numTokens = 600;
    await answerOf(await post("/v1/chat/completions", chat(MODEL, "warm", 1)));
    const before = statsOf(MODEL);
    const response = await post("/v1/chat/completions", chat(MODEL, "never mind", numTokens));
    const chunks = chunksOf(response);
    for (let i = 0; i < 5; i++) await chunks.next();
    await chunks.return();
    await scheduler.wait(50);
    const after = statsOf(MODEL);
    expect(after.numRunning + after.numWaiting).toBe(0);
    expect(after.numFreeBlocks).toBe(before.numFreeBlocks);
    expect(after.numSteps - before.numSteps).toBeLessThan(16);
  });

  test("leaves the others undisturbed", async () => {
    const stays = post("/v1/chat/completions", chat(MODEL, "I stay", 40)).then(answerOf);
    const leaves = chunksOf(await post("/v1/chat/completions", chat(MODEL, "I leave", 400)));
    await leaves.next();
    await leaves.return();
    expect((await stays).usage.completion_tokens).toBe(40);
  });

  test("ends a generation that is not streamed too", async () => {
    const gone = new AbortController();
    const body = JSON.stringify({ ...chat(MODEL, "not streamed", 900), stream: false, stream_options: undefined });
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body, signal: gone.signal };
    const answer = request("/v1/chat/completions", init).catch((error: unknown) => error);
    const before = statsOf(MODEL).numSteps;
    while (statsOf(MODEL).numRunning === 0) await scheduler.wait(1);
    gone.abort();
    await answer;
    await scheduler.wait(50);
    expect(statsOf(MODEL).numRunning).toBe(0);
    expect(statsOf(MODEL).numSteps - before).toBeLessThan(800);
  });
});

test("a stream is one event for each line of data, ended by [DONE], as curl shows it", async () => {
  const response = await post("/v1/chat/completions", chat(MODEL, "raw", 3));
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const events = (await response.text()).split("\n\n");
  expect(events.pop()).toBe("");
  expect(events.pop()).toBe("data: [DONE]");
  for (const event of events) expect(event).toMatch(/^data: \{"id":"chatcmpl-/);
  expect(STREAM.stream).toBe(true);
});
