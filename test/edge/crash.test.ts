/** A trap inside WebAssembly in the middle of answers: nobody hears of it, and nobody loses or gains a token. */
import { beforeAll, expect, test, vi } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { info, send, untilIdle, withoutNames } from "./sessions.ts";
import { addTinyModel, answerOf, chat, chunksOf, createSession, post, statsOf } from "./stack.ts";

const MODEL = "crash-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

const warm = async () => answerOf(await post("/v1/chat/completions", chat(MODEL, "warm", 2)));
const sessionIds = () => Promise.all([1, 2].map(async () => (await createSession(MODEL)).id));

test("an answer that was only asked for is given by the next engine", async () => {
  const before = await warm();
  const fields = { stream: false, stream_options: undefined };
  const ask = async () => (await post("/v1/chat/completions", { ...chat(MODEL, "boom", 8), ...fields })).json();
  const answer = (await ask()) as { choices: unknown };
  isolateEngine.crashForTest(MODEL);
  expect(((await ask()) as { choices: unknown }).choices).toEqual(answer.choices);
  expect((await warm()).text).toBe(before.text);
});

test("two sessions and a stateless stream go on in mid-answer, byte for byte", async () => {
  const answers: string[][] = [];
  const log = vi.spyOn(console, "error");
  for (const numCrashes of [0, 3]) {
    const [one, two] = await sessionIds();
    const sampled = { temperature: 1, seed: 5 };
    const responses = [
      await send(one!, "the first", 200, sampled),
      await send(two!, "the second", 150),
      await post("/v1/chat/completions", {
        ...chat(MODEL, "the third", 170),
        ...sampled,
        cache_salt: `${numCrashes}`,
      }),
    ];
    let numRead = 0;
    const texts = responses.map(async (response) => {
      let text = "";
      for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
        text += piece;
        numRead++;
        if (numRead === 20 || numRead === 60 || numRead === 140) if (numCrashes > 0) isolateEngine.crashForTest(MODEL);
      }
      return withoutNames(text);
    });
    answers.push(await Promise.all(texts));
    for (const id of [one!, two!]) answers.at(-1)!.push((await untilIdle(id)).messages[1]!.content);
    expect((await info(one!)).messages[1]!.finish_reason).toBe("length");
  }
  expect(log.mock.calls.filter(([line]) => String(line).includes("crashed"))).toHaveLength(3);
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[0]![0]!.match(/"content"/g)!.length).toBeGreaterThan(100);
  expect([statsOf(MODEL).numRunning, statsOf(MODEL).numWaiting]).toEqual([0, 0]);
});

test("many requests after a crash rebuild the engine once and are all answered alike", async () => {
  const before = await warm();
  isolateEngine.crashForTest(MODEL);
  const answers = await Promise.all(Array.from({ length: 6 }, warm));
  for (const { text } of answers) expect(text).toBe(before.text);
});

test("one that brings down every engine ends with an error and its id; its session works on", async () => {
  await warm();
  const { id } = await createSession(MODEL);
  const chunks = chunksOf(await send(id, "poison", 600));
  for (let i = 0; i < 8; i++) await chunks.next();
  const poisoned = setInterval(() => {
    try {
      isolateEngine.crashForTest(MODEL);
    } catch {
      // It is being rebuilt.
    }
  }, 0);
  let last: unknown;
  try {
    for await (const chunk of chunks) last = chunk.error ?? last;
  } finally {
    clearInterval(poisoned);
  }
  expect(last).toMatchObject({ code: "internal_error" });
  const { messages } = await untilIdle(id);
  expect(messages[1]!.finish_reason).toBe("abort");
  expect(messages[1]!.content.length).toBeGreaterThan(0);
  expect((await answerOf(await send(id, "after it", 4))).usage.completion_tokens).toBe(4);
});
