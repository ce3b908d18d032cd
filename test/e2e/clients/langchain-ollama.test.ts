/** `@langchain/ollama` against the real Worker. Its `invoke` streams, too, and counts by the last line. */
import { ChatOllama, Ollama as OllamaText } from "@langchain/ollama";
import { describe, expect, inject, test } from "vitest";
import { MODEL } from "./server.ts";
import { numOpenAnswers } from "./work.ts";

const url = inject("serverUrl");
const chat = new ChatOllama({ baseUrl: url, model: MODEL, temperature: 0, numPredict: 24, maxRetries: 0 });

describe("ChatOllama", () => {
  test("answers, and knows what it cost", async () => {
    const answer = await chat.invoke("What is a KV cache?");
    expect(answer.text.length).toBeGreaterThan(10);
    const { input_tokens, output_tokens, total_tokens } = answer.usage_metadata!;
    expect(output_tokens).toBeGreaterThan(5);
    expect(total_tokens).toBe(input_tokens + output_tokens);
    expect(answer.response_metadata).toMatchObject({ model: MODEL, done: true });
  });

  test("streams the same", async () => {
    let text = "";
    for await (const chunk of await chat.stream("What is a KV cache?")) text += chunk.text;
    expect(text).toBe((await chat.invoke("What is a KV cache?")).text);
  });

  test("keeps a conversation", async () => {
    const answer = await chat.invoke([
      ["system", "Be brief."],
      ["human", "What is prefill?"],
      ["ai", "Prefill computes the prompt."],
      ["human", "And decode?"],
    ]);
    expect(answer.text.length).toBeGreaterThan(0);
  });

  test("binds tools", async () => {
    const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const tool = { type: "function", function: { name: "weather", description: "Of a city", parameters: schema } };
    const answer = await chat.bindTools([tool]).invoke("What is the weather in Bern?");
    expect(answer.response_metadata).toMatchObject({ done: true });
  });

  test("gives objects of a schema", async () => {
    const properties = { city: { type: "string", enum: ["Bern", "Basel"] } };
    const schema = { type: "object", properties, required: ["city"] };
    const structured = chat.withStructuredOutput(schema, { method: "jsonSchema" });
    expect(await structured.invoke("Where is the bear?")).toEqual({ city: expect.stringMatching(/^(Bern|Basel)$/) });
  });

  test("answers several at once", async () => {
    const answers = await chat.batch(["What is prefill?", "What is decode?", "Hello!"]);
    for (const { text } of answers) expect(text.length).toBeGreaterThan(0);
  });

  test("throws what is wrong", async () => {
    const wrong = new ChatOllama({ baseUrl: url, model: "nope", maxRetries: 0 });
    await expect(wrong.invoke("Hi")).rejects.toThrow(/nope/);
  });

  test("stops when told so", async () => {
    const abort = new AbortController();
    const long = new ChatOllama({ baseUrl: url, model: MODEL, temperature: 1, numPredict: 900, maxRetries: 0 });
    const reading = (async () => {
      for await (const _ of await long.stream("Tell me a story.", { signal: abort.signal })) abort.abort();
    })();
    await expect(reading).rejects.toThrow(/abort/i);
    await expect.poll(() => numOpenAnswers(url), { timeout: 30_000 }).toBe(0);
  });
});

test("Ollama, for plain texts", async () => {
  const text = new OllamaText({ baseUrl: url, model: MODEL, temperature: 0, numPredict: 12, maxRetries: 0 });
  expect((await text.invoke("What is a KV cache?")).length).toBeGreaterThan(5);
});
