/**
 * `@huggingface/inference` with an endpoint's URL against the real Worker. Without a model it sends that URL as the
 * model's name, which is an alias of the demo here.
 */
import { InferenceClient } from "@huggingface/inference";
import { describe, expect, inject, test } from "vitest";
import { MODEL } from "./server.ts";
import { numOpenAnswers } from "./work.ts";

const url = inject("serverUrl");
const endpointUrl = `${url}/v1`;
const client = new InferenceClient(undefined, { endpointUrl, retry_on_error: false });

const messages = [{ role: "user" as const, content: "What is a KV cache?" }];
const GREEDY = { temperature: 0, max_tokens: 24 };

describe("chatCompletion", () => {
  test("whole and streamed say the same, with a model's name and without", async () => {
    for (const named of [{ model: MODEL }, {}]) {
      const whole = await client.chatCompletion({ ...named, messages, ...GREEDY });
      let text = "";
      for await (const chunk of client.chatCompletionStream({ ...named, messages, ...GREEDY })) {
        text += chunk.choices[0]?.delta.content ?? "";
      }
      expect(whole).toMatchObject({ model: MODEL, usage: { completion_tokens: expect.any(Number) } });
      expect(text).toBe(whole.choices[0]!.message.content);
      expect(text.length).toBeGreaterThan(10);
    }
  });

  test("throws what is wrong", async () => {
    await expect(client.chatCompletion({ model: "nope", messages })).rejects.toMatchObject({
      httpResponse: { status: 404, body: { error: { code: "model_not_found" } } },
    });
    const stream = client.chatCompletionStream({ model: MODEL, messages, temperature: 9 });
    await expect(stream.next()).rejects.toThrow(/'temperature' must be at most 2/);
  });

  test("stops when told so", async () => {
    const abort = new AbortController();
    const story = [{ role: "user" as const, content: "Tell me a story." }];
    const stream = client.chatCompletionStream({ messages: story, max_tokens: 900 }, { signal: abort.signal });
    await stream.next();
    abort.abort();
    // What had arrived by then may still be given out.
    const rest = async () => {
      while (!(await stream.next()).done);
    };
    await expect(rest()).rejects.toMatchObject({ name: "AbortError" });
    await expect.poll(() => numOpenAnswers(url), { timeout: 30_000 }).toBe(0);
  });
});

describe("textGeneration", () => {
  test("gives the text", async () => {
    const { generated_text } = await client.textGeneration({
      model: MODEL,
      inputs: "A KV cache",
      parameters: { max_new_tokens: 12, temperature: 0.1, seed: 1 },
    });
    expect(generated_text.length).toBeGreaterThan(5);
  });
});

describe("TGI's own routes, which older clients of theirs use", () => {
  const post = async (path: string, body: object) =>
    fetch(`${url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const inputs = "<|im_start|>user\nWhat is a KV cache?<|im_end|>\n<|im_start|>assistant\n";
  const body = { inputs, parameters: { max_new_tokens: 12, details: true } };

  test("stream the tokens that the whole answer has", async () => {
    const whole = (await (await post("/generate", body)).json()) as {
      generated_text: string;
      details: { tokens: { id: number }[]; generated_tokens: number };
    };
    const text = await (await post("/generate_stream", body)).text();
    const events = text
      .trimEnd()
      .split("\n\n")
      .map((event) => JSON.parse(event.replace(/^data: /, "")));
    expect(events.map(({ token }) => token.id)).toEqual(whole.details.tokens.map(({ id }) => id));
    expect(events.map(({ token }) => token.text).join("")).toBe(whole.generated_text);
    expect(events.at(-1)).toMatchObject({ generated_text: whole.generated_text, details: { finish_reason: "length" } });
    expect(whole.details.generated_tokens).toBe(12);
  });

  test("tell of the prompt's tokens", async () => {
    const parameters = { ...body.parameters, decoder_input_details: true, top_n_tokens: 2 };
    const { details } = (await (await post("/generate", { ...body, parameters })).json()) as {
      details: { prefill: { text: string; logprob: number | null }[]; top_tokens: object[][] };
    };
    expect(details.prefill.map(({ text }) => text).join("")).toBe(body.inputs);
    expect(details.prefill[0]!.logprob).not.toBe(0);
    for (const top of details.top_tokens) expect(top).toHaveLength(2);
  });

  test("describe the model, and refuse in their own way", async () => {
    expect(await (await fetch(`${url}/info`)).json()).toMatchObject({ model_id: MODEL, max_total_tokens: 1024 });
    const refused = await post("/generate", { inputs: "" });
    expect([refused.status, await refused.json()]).toMatchObject([422, { error_type: "validation" }]);
  });

  test("leave the root to the page", async () => {
    expect((await fetch(url, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(url)).headers.get("content-type")).toContain("text/html");
  });
});
