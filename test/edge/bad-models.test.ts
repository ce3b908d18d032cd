/** Model files that cannot be served: a clear error for who asks for them, and nothing for who does not. */
import { env } from "cloudflare:workers";
import { beforeAll, expect, test } from "vitest";
import { string } from "../support/gguf-writer.ts";
import { tinyModelBytes } from "../support/tiny-model.ts";
import { addModelBytes, addTinyModel, answerOf, chat, createSession, errorOf, post, request, TINY } from "./stack.ts";

const GOOD = "good-tiny";

beforeAll(async () => {
  await addTinyModel(GOOD);
});

/** The refusal of a chat with this model; the good one must still answer afterwards. */
async function refusal(model: string) {
  const error = await errorOf(await post("/v1/chat/completions", chat(model, "Hi", 4)));
  expect((await answerOf(await post("/v1/chat/completions", chat(GOOD, "Hi", 4)))).usage.completion_tokens).toBe(4);
  return error;
}

test("a truncated file", async () => {
  const bytes = tinyModelBytes(TINY);
  await addModelBytes("truncated", bytes.slice(0, bytes.length - 1000));
  const error = await refusal("truncated");
  expect(error).toMatchObject({ status: 422, code: "model_unusable", param: "model" });
  expect(error.message).toContain("'truncated' cannot be served");
  expect(error.message).toContain("truncated: the tensor");
});

test("a file that is no GGUF", async () => {
  await addModelBytes("garbage", new Uint8Array(4096).fill(0x5a));
  const error = await refusal("garbage");
  expect(error).toMatchObject({ status: 422, code: "model_unusable" });
});

test("an architecture that nobody knows, by name", async () => {
  const metadata = { "general.architecture": string("mamba") };
  await addModelBytes("mamba", tinyModelBytes({ ...TINY, metadata }));
  const error = await refusal("mamba");
  expect(error).toMatchObject({ status: 422, code: "model_unusable" });
  expect(error.message).toContain('the architecture "mamba", which is not supported');
});

test("a model over the memory budget, with the numbers", async () => {
  // Keys and values 4096 wide in 12 layers: 52 MB of KV for 512 tokens even in q8, in a file of three megabytes.
  const wide = { numLayers: 12, dModel: 4, numHeads: 32, numKvHeads: 32, headDim: 128, ffnDim: 4 };
  await addTinyModel("too-large", { ...wide, weightType: "F32" });
  const error = await refusal("too-large");
  expect(error).toMatchObject({ status: 422, code: "model_unusable" });
  expect(error.message).toMatch(/needs [56]\d\.\d MB .*KV of 512 tokens 51\.9 MB.* and 49\.5 MB are there/);
});

test("a model whose file is missing is unavailable, not unusable: it may be there again soon", async () => {
  await addTinyModel("missing");
  await env.MODELS.delete("models/missing.gguf");
  const response = await post("/v1/chat/completions", chat("missing", "Hi", 4));
  expect(response.headers.get("retry-after")).not.toBeNull();
  expect(await errorOf(response)).toMatchObject({ status: 503, code: "model_unavailable" });
});

test("a refused model is usable as soon as its file is replaced", async () => {
  await addModelBytes("mended", new Uint8Array(4096));
  expect((await refusal("mended")).status).toBe(422);
  await addTinyModel("mended");
  const deadlineMs = Date.now() + 15_000;
  let response = await post("/v1/chat/completions", chat("mended", "Hi", 4));
  while (!response.ok && Date.now() < deadlineMs) {
    await response.text();
    await scheduler.wait(500);
    response = await post("/v1/chat/completions", chat("mended", "Hi", 4));
  }
  expect((await answerOf(response)).usage.completion_tokens).toBe(4);
});

test("a broken manifest takes only its own model out of the list", async () => {
  await env.MODELS.put("models/broken.json", "{ not json");
  await env.MODELS.put("models/notes.txt", "not a manifest at all");
  await addTinyModel("listed-tiny");
  // Asking for a new name reads the list again at once.
  await answerOf(await post("/v1/chat/completions", chat("listed-tiny", "Hi", 1)));
  const { data } = (await (await request("/v1/models")).json()) as { data: { id: string }[] };
  const ids = data.map(({ id }) => id);
  expect(ids).toContain("listed-tiny");
  expect(ids).toContain(GOOD);
  expect(ids).not.toContain("broken");
});

test("a session of an unusable model is refused with the same error and stores no message", async () => {
  await addModelBytes("bad-session", new Uint8Array(4096));
  const { id } = await createSession("bad-session");
  const error = await errorOf(await post(`/v1/sessions/${id}/messages`, { content: "Hi", stream: true }));
  expect(error).toMatchObject({ status: 422, code: "model_unusable" });
  const session = (await (await request(`/v1/sessions/${id}`)).json()) as { messages: unknown[] };
  expect(session.messages).toEqual([]);
});
