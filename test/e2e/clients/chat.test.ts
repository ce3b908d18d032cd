/** Every chat client against the real Worker with the demo model: the same answers, counts, refusals and stops. */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, type ModelMessage } from "ai";
import OpenAI from "openai";
import { describe, expect, inject, test } from "vitest";
import { type Asked, chatClients, statusOf, type Told } from "../../support/clients/chat-clients.ts";
import { MODEL } from "./server.ts";
import { numOpenAnswers } from "./work.ts";

const serverUrl = inject("serverUrl");
const QUESTION: Asked = { model: MODEL, prompt: "What is a KV cache?", system: "Be brief.", maxTokens: 24 };

/** What the Worker says to nobody's client in particular. */
async function expected(): Promise<Told> {
  const messages = [
    { role: "system", content: QUESTION.system },
    { role: "user", content: QUESTION.prompt },
  ];
  const response = await fetch(`${serverUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, messages, temperature: 0, max_tokens: QUESTION.maxTokens }),
  });
  const { choices, usage } = (await response.json()) as OpenAI.ChatCompletion;
  return {
    text: choices[0]!.message.content!,
    promptTokens: usage!.prompt_tokens,
    completionTokens: usage!.completion_tokens,
    isCut: choices[0]!.finish_reason === "length",
  };
}

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (cause) => cause,
  );

const nothing = () => {};

describe.each(chatClients(serverUrl))("$name", (client) => {
  test("answers in one piece, and knows what it cost", async () => {
    const told = await client.whole(QUESTION);
    expect(told).toEqual(await expected());
    expect(told.text.length).toBeGreaterThan(10);
  });

  test("streams the same in pieces", async () => {
    const pieces: string[] = [];
    const told = await client.stream(QUESTION, (piece) => pieces.push(piece));
    expect(told).toEqual(await expected());
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.join("")).toBe(told.text);
  });

  test("knows that an answer was cut", async () => {
    expect(await client.whole({ ...QUESTION, maxTokens: 3 })).toMatchObject({ isCut: true, completionTokens: 3 });
    expect(await client.stream({ ...QUESTION, maxTokens: 3 }, nothing)).toMatchObject({ isCut: true });
  });

  test("answers several at once", async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => client.stream(QUESTION, nothing)));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  });

  test.each([
    ["an unknown model", { model: "nope" }, 404, /nope/],
    ["a prompt over the context", { prompt: "word ".repeat(20_000) }, 400, /context is \d+ tokens/],
    ["a temperature that is none", { temperature: 3 }, 400, /temperature/],
  ])("throws %s with its status and words", async (_name, fields, status, words) => {
    const asked = { ...QUESTION, ...fields };
    for (const ask of [() => client.whole(asked), () => client.stream(asked, nothing)]) {
      const error = await caught(ask());
      expect(statusOf(error)).toBe(status);
      expect(String(error)).toMatch(words);
    }
  });

  test("stops the engine when it stops reading", async () => {
    const abort = new AbortController();
    const long = { ...QUESTION, prompt: "Tell me a story.", maxTokens: 900, temperature: 1, signal: abort.signal };
    let numPieces = 0;
    const reading = client.stream(long, () => {
      if (++numPieces === 2) abort.abort();
    });
    await caught(reading);
    expect(numPieces).toBeLessThan(200);
    await expect.poll(() => numOpenAnswers(serverUrl), { timeout: 30_000 }).toBe(0);
  });
});

const at = { baseURL: `${serverUrl}/v1`, apiKey: "any" };

describe("openai", () => {
  const client = new OpenAI({ ...at, maxRetries: 0 });

  test("lists and finds models", async () => {
    const ids = (await client.models.list()).data.map(({ id }) => id);
    expect(ids).toContain(MODEL);
    expect(await client.models.retrieve(MODEL)).toMatchObject({ id: MODEL, object: "model" });
    expect(await caught(client.models.retrieve("nope"))).toBeInstanceOf(OpenAI.NotFoundError);
  });

  test("completes a plain text, streamed and whole", async () => {
    const body = { model: MODEL, prompt: "A KV cache", temperature: 0, max_tokens: 12 };
    const whole = await client.completions.create(body);
    let text = "";
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      text += chunk.choices[0]?.text ?? "";
    }
    expect(text).toBe(whole.choices[0]!.text);
    expect(text.length).toBeGreaterThan(5);
  });

  test("keeps a conversation by the ids of its responses", async () => {
    const first = await client.responses.create({ model: MODEL, input: "What is prefill?", max_output_tokens: 24 });
    const next = { model: MODEL, input: "And decode?", max_output_tokens: 24, previous_response_id: first.id };
    const second = await client.responses.create(next);
    expect(second.usage!.input_tokens).toBeGreaterThan(first.usage!.total_tokens);
    expect(second.usage!.input_tokens_details.cached_tokens).toBeGreaterThan(0);
    expect(await client.responses.retrieve(second.id)).toMatchObject({ output: second.output });
    await client.responses.delete(first.id);
    await client.responses.delete(second.id);
    expect(await caught(client.responses.retrieve(second.id))).toBeInstanceOf(OpenAI.NotFoundError);
  });
});

describe("ai", () => {
  test("@ai-sdk/openai keeps a conversation by the ids of its items", async () => {
    const bodies: { input: { type?: string }[] }[] = [];
    const official = createOpenAI({
      ...at,
      fetch: (url, init) => {
        bodies.push(JSON.parse(String(init?.body)));
        return fetch(url, init);
      },
    });
    const messages: ModelMessage[] = [{ role: "user", content: "What is prefill?" }];
    const first = await generateText({ model: official(MODEL), messages, maxOutputTokens: 24 });
    messages.push(...first.responseMessages, { role: "user", content: "And decode?" });
    const second = await generateText({ model: official(MODEL), messages, maxOutputTokens: 24 });
    expect(bodies[1]!.input.map(({ type }) => type)).toContain("item_reference");
    expect(second.usage.inputTokens).toBeGreaterThan(first.usage.totalTokens!);
  });

  test("@ai-sdk/openai-compatible completes a plain text", async () => {
    const compatible = createOpenAICompatible({ name: "runnel", ...at });
    const model = compatible.completionModel(MODEL);
    const { text } = await generateText({ model, prompt: "What is prefill?", temperature: 0, maxOutputTokens: 12 });
    expect(text.length).toBeGreaterThan(0);
  });
});
