/** A trap inside WebAssembly: who was in that step hears of it, nobody else, and the next request works. */
import { beforeAll, expect, test } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import {
  addTinyModel,
  answerOf,
  type Chunk,
  chat,
  chunksOf,
  createSession,
  errorOf,
  post,
  request,
  STREAM,
  statsOf,
} from "./stack.ts";

const MODEL = "crash-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

const warm = async () => answerOf(await post("/v1/chat/completions", chat(MODEL, "warm", 2)));

async function lastChunk(response: Response): Promise<Chunk | undefined> {
  let last: Chunk | undefined;
  for await (const chunk of chunksOf(response)) last = chunk;
  return last;
}

test("the request fails with its id and nothing of the cause; the next one is answered", async () => {
  const before = await warm();
  isolateEngine.crashForTest(MODEL);
  const headers = { "content-type": "application/json", "x-request-id": "the-crashed-one" };
  const body = JSON.stringify({ ...chat(MODEL, "boom", 8), stream: false, stream_options: undefined });
  const error = await errorOf(await request("/v1/chat/completions", { method: "POST", headers, body }));
  expect(error).toMatchObject({ status: 500, code: "internal_error", type: "server_error" });
  expect(error.message).toBe("Internal error. Request id: the-crashed-one");
  const after = await warm();
  expect(after.text).toBe(before.text);
});

test("a stream that has begun ends with an error event", async () => {
  await warm();
  const response = await post("/v1/chat/completions", chat(MODEL, "begun", 400));
  const [first, second] = response.body!.tee();
  const reader = first.getReader();
  await reader.read();
  isolateEngine.crashForTest(MODEL);
  void reader.cancel();
  const last = await lastChunk(new Response(second));
  expect(last?.error).toMatchObject({ code: "internal_error" });
  expect(statsOf(MODEL).numRunning).toBe(0);
});

test("many requests after a crash rebuild the engine once and are all answered alike", async () => {
  const before = await warm();
  isolateEngine.crashForTest(MODEL);
  await (await post("/v1/chat/completions", chat(MODEL, "boom", 8))).text();
  const answers = await Promise.all(Array.from({ length: 6 }, warm));
  for (const { text } of answers) expect(text).toBe(before.text);
});

test("a session keeps its message, what there was of the answer, and goes on", async () => {
  const { id } = await createSession(MODEL);
  const send = (content: string, numTokens: number) =>
    post(`/v1/sessions/${id}/messages`, { content, max_tokens: numTokens, ...STREAM });
  const chunks = chunksOf(await send("before the crash", 600));
  for (let i = 0; i < 8; i++) await chunks.next();
  isolateEngine.crashForTest(MODEL);
  let last: Chunk | undefined;
  for await (const chunk of chunks) last = chunk;
  expect(last?.error).toMatchObject({ code: "internal_error" });
  const { messages } = (await (await request(`/v1/sessions/${id}`)).json()) as {
    messages: { content: string; finish_reason: string | null }[];
  };
  expect(messages).toHaveLength(2);
  expect(messages[1]!.finish_reason).toBe("abort");
  expect(messages[1]!.content.length).toBeGreaterThan(0);
  expect((await answerOf(await send("after it", 4))).usage.completion_tokens).toBe(4);
});
