/** The `ollama` package, as a person uses it, against the real Worker. */
import { Ollama } from "ollama";
import { describe, expect, inject, test } from "vitest";
import { MODEL } from "./server.ts";
import { numOpenAnswers } from "./work.ts";

const url = inject("serverUrl");
const client = new Ollama({ host: url });

const messages = [{ role: "user", content: "What is a KV cache?" }];
const options = { temperature: 0, num_predict: 24 };

async function collected<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const parts: T[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

describe("chat", () => {
  test("whole and streamed say the same, and count what they say", async () => {
    const whole = await client.chat({ model: MODEL, messages, options });
    const parts = await collected(await client.chat({ model: MODEL, messages, options, stream: true }));
    expect(whole.message.content.length).toBeGreaterThan(10);
    expect(parts.map(({ message }) => message.content).join("")).toBe(whole.message.content);
    for (const last of [whole, parts.at(-1)!]) {
      expect(last).toMatchObject({ model: MODEL, done: true, done_reason: expect.stringMatching(/^(stop|length)$/) });
      expect(last.prompt_eval_count).toBeGreaterThan(5);
      expect(last.eval_count).toBeGreaterThan(5);
      for (const key of ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] as const) {
        expect(Number.isInteger(last[key])).toBe(true);
      }
      expect(Date.parse(String(last.created_at))).toBeGreaterThan(Date.now() - 60_000);
    }
  });

  test("is the same as through OpenAI's API", async () => {
    const { message } = await client.chat({ model: MODEL, messages, options: { ...options, seed: 7, temperature: 0 } });
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: MODEL, messages, temperature: 0, max_tokens: 24 }),
    });
    const body = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]!.message.content).toBe(message.content);
  });

  test("ends with length where it is cut, and at a stop string", async () => {
    const cut = await client.chat({ model: MODEL, messages, options: { temperature: 0, num_predict: 3 } });
    expect([cut.done_reason, cut.eval_count]).toEqual(["length", 3]);
    const whole = await client.chat({ model: MODEL, messages, options });
    const word = whole.message.content.split(" ")[2]!;
    const stopped = await client.chat({ model: MODEL, messages, options: { ...options, stop: [` ${word}`] } });
    expect(stopped.message.content).toBe(whole.message.content.split(` ${word}`)[0]);
    expect(stopped.done_reason).toBe("stop");
  });

  test("has logprobs", async () => {
    const response = await client.chat({ model: MODEL, messages, options, logprobs: true, top_logprobs: 2 });
    const logprobs = response.logprobs!;
    expect(logprobs.map(({ token }) => token).join("")).toBe(response.message.content);
    for (const one of logprobs) expect(one.top_logprobs).toHaveLength(2);
  });

  test("takes tools, and the conversation that their calls make", async () => {
    const parameters = {
      type: "object",
      required: ["city"],
      properties: { city: { type: "string", description: "" } },
    };
    const tools = [{ type: "function", function: { name: "weather", description: "Of a city", parameters } }];
    const called = {
      role: "assistant",
      content: "",
      tool_calls: [{ function: { name: "weather", arguments: { city: "Bern" } } }],
    };
    const result = { role: "tool", content: "Sunny.", tool_name: "weather" };
    const response = await client.chat({ model: MODEL, messages: [...messages, called, result], tools, options });
    expect(response).toMatchObject({ done: true, message: { role: "assistant" } });
    expect(response.prompt_eval_count).toBeGreaterThan(30);
  });

  test("answers in the form that it is asked for", async () => {
    const city = { type: "string", enum: ["Bern", "Basel"] };
    const format = { type: "object", properties: { city, large: { type: "boolean" } }, required: ["city", "large"] };
    for (const temperature of [0, 1]) {
      const response = await client.chat({ model: MODEL, messages, format, options: { temperature, num_predict: 60 } });
      expect(JSON.parse(response.message.content)).toEqual({
        city: expect.stringMatching(/^(Bern|Basel)$/),
        large: expect.any(Boolean),
      });
    }
    const { response: json, done_reason } = await client.generate({
      model: MODEL,
      prompt: "x",
      format: "json",
      options,
    });
    expect(json).toMatch(/^\{/);
    if (done_reason === "stop") expect(typeof JSON.parse(json!)).toBe("object");
  });

  test("takes thinking as a wish", async () => {
    const response = await client.chat({ model: MODEL, messages, options, think: false });
    expect(response.message.content.length).toBeGreaterThan(10);
  });
});

describe("generate", () => {
  test("is the chat with one message, or the text as it is", async () => {
    const chat = await client.chat({ model: MODEL, messages, options });
    const prompt = messages[0]!.content;
    expect((await client.generate({ model: MODEL, prompt, options })).response).toBe(chat.message.content);
    const raw = `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
    const parts = await collected(
      await client.generate({ model: MODEL, prompt: raw, raw: true, options, stream: true }),
    );
    expect(parts.at(-1)!.done).toBe(true);
  });

  test("of nothing loads the model", async () => {
    expect(await client.generate({ model: MODEL, prompt: "" })).toMatchObject({ done: true, done_reason: "load" });
  });
});

describe("models", () => {
  test("are listed, shown and running", async () => {
    const { models } = await client.list();
    expect(models[0]).toMatchObject({
      name: `${MODEL}:latest`,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      details: { format: "gguf", family: "llama", parameter_size: "2.4M", quantization_level: "Q8_0" },
    });
    const shown = await client.show({ model: models[0]!.name });
    expect(shown.capabilities).toContain("completion");
    expect(shown.model_info).toMatchObject({ "general.architecture": "llama", "llama.context_length": 1024 });
    expect(Array.isArray((await client.ps()).models)).toBe(true);
    expect((await client.version()).version).toMatch(/^\d/);
  });

  test("are found by the name that the list has", async () => {
    const { models } = await client.list();
    const answer = await client.chat({ model: models[0]!.name, messages, options });
    expect(answer.model).toBe(`${MODEL}:latest`);
  });
});

describe("errors", () => {
  test.each([
    ["an unknown model", () => client.chat({ model: "nope", messages }), 404, /nope/],
    ["a wrong option", () => client.chat({ model: MODEL, messages, options: { temperature: 9 } }), 400, /temperature/],
    ["a picture", () => client.generate({ model: MODEL, prompt: "x", images: ["aGk="] }), 400, /images/],
    ["a write", () => client.pull({ model: "x" }), 501, /npm run model/],
    [
      "a prompt that is too long",
      () => client.generate({ model: MODEL, prompt: "word ".repeat(2000), stream: true }),
      400,
      /context is 1024 tokens/,
    ],
  ])("%s", async (_name, call, status_code, message) => {
    await expect((call as () => Promise<unknown>)()).rejects.toMatchObject({
      status_code,
      message: expect.stringMatching(message),
    });
  });
});

test("an answer that nobody reads any more ends", async () => {
  const stream = await client.chat({
    model: MODEL,
    messages: [{ role: "user", content: "Tell me a story." }],
    options: { num_predict: 900, temperature: 1 },
    stream: true,
  });
  const reading = (async () => {
    for await (const _ of stream) stream.abort();
  })();
  await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  await expect.poll(() => numOpenAnswers(url), { timeout: 30_000 }).toBe(0);
});
