/** Vectors and token ids through the objects and the real engine, as the routes will ask for them; constraints, too. */
import { env } from "cloudflare:workers";
import { beforeAll, expect, test } from "vitest";
import { edgeModels } from "../../src/edge/model-router.ts";
import { withNeutralFields } from "../../src/edge/stored-request.ts";
import type { EmbedRequest } from "../../src/protocol/embed.ts";
import { addTinyModel, answerOf, chat, post, statsOf } from "./stack.ts";

const MODEL = "embed-tiny";
const models = edgeModels(env);

beforeAll(async () => {
  await addTinyModel(MODEL);
});

function asked(texts: string[], changes: Partial<EmbedRequest> = {}): EmbedRequest {
  const prompts = texts.map((text) => ({ kind: "text" as const, text }));
  return { requestId: "r", model: MODEL, prompts, dimensions: null, truncate: false, cacheSalt: "", ...changes };
}

test("unit vectors, the same beside an answer and in any order", async () => {
  const texts = ["one fish", "two fish", "red fish", "blue fish", "a fish that is longer than a block of tokens is"];
  const { vectors, promptTokens } = await models.embed(asked(texts), null);
  expect(vectors).toHaveLength(texts.length);
  expect(promptTokens).toBeGreaterThan(texts.length);
  for (const vector of vectors) {
    expect(vector).toBeInstanceOf(Float32Array);
    expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  }
  const [again, { text }] = await Promise.all([
    models.embed(asked(texts.toReversed()), "another lane"),
    post("/v1/chat/completions", chat(MODEL, "Hello there", 16)).then(answerOf),
  ]);
  expect(again.vectors.toReversed()).toEqual(vectors);
  expect(text.length).toBeGreaterThan(0);
  expect(statsOf(MODEL).numRunning).toBe(0);
});

test("what cannot be embedded is refused with its reason", async () => {
  await expect(models.embed(asked(["word ".repeat(3000)]), null)).rejects.toMatchObject({
    status: 400,
    param: "input",
  });
  await expect(models.embed(asked(["a"], { model: "nope" }), null)).rejects.toMatchObject({ code: "model_not_found" });
  await expect(models.embed(asked(["a"], { dimensions: 100_000 }), null)).rejects.toMatchObject({
    param: "dimensions",
  });
  const cut = await models.embed(asked(["word ".repeat(3000)], { truncate: true }), null);
  expect(cut.promptTokens).toBe(1024);
});

test("tokens of a text and of a chat, and back", async () => {
  const common = { requestId: "r", model: MODEL, addSpecialTokens: false, wantsTexts: true };
  const { tokens, texts } = await models.tokenize({ ...common, prompt: { kind: "text", text: "two fish" } });
  expect(texts!.join("")).toBe("two fish");
  expect(await models.detokenize({ requestId: "r", model: MODEL, tokens })).toMatchObject({ text: "two fish" });
  const messages = [{ role: "user" as const, content: "two fish" }];
  const rendered = await models.tokenize({ ...common, prompt: { kind: "chat", messages } });
  expect(rendered.texts!.join("")).toContain("two fish");
  expect(rendered.tokens.length).toBeGreaterThan(tokens.length);
});

test("rules of what may be sampled hold in an answer", async () => {
  const ids = (
    await models.tokenize({
      requestId: "r",
      model: MODEL,
      prompt: { kind: "text", text: "abc" },
      addSpecialTokens: false,
      wantsTexts: false,
    })
  ).tokens;
  const body = { ...chat(MODEL, "Hello there", 24), temperature: 1, allowed_token_ids: ids };
  const { text } = await answerOf(await post("/v1/chat/completions", body));
  expect(text).toMatch(/^[abc]+$/);
});

test("a turn that an older deploy has stored asks for no more than it did", () => {
  const stored = { requestId: "r", maxTokens: 5, ignoreEos: true };
  const neutral = { constraint: null, minTokens: 0, allowedTokenIds: null, badWords: [] };
  expect(withNeutralFields(stored)).toEqual({ ...stored, ...neutral });
  expect(withNeutralFields({ ...stored, minTokens: 3 })).toMatchObject({ minTokens: 3, badWords: [] });
});
