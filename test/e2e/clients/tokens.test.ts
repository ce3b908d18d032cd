/** vLLM's routes for tokens, of the real model: what they say is what a request's usage says. */
import OpenAI from "openai";
import { expect, inject, test } from "vitest";
import { MODEL } from "./server.ts";

const serverUrl = inject("serverUrl");
const TEXT = "What is a KV cache?";

async function post<T>(path: string, body: object): Promise<T> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${serverUrl}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  expect([path, response.status]).toEqual([path, 200]);
  return (await response.json()) as T;
}

test("a text becomes tokens, and they the text", async () => {
  const { tokens, count } = await post<{ tokens: number[]; count: number }>("/tokenize", {
    model: MODEL,
    prompt: TEXT,
    add_special_tokens: false,
  });
  expect(tokens).toHaveLength(count);
  const { prompt } = await post<{ prompt: string }>("/detokenize", { model: MODEL, tokens });
  expect(prompt).toBe(TEXT);
});

test("a chat has as many tokens as its usage says", async () => {
  const messages = [{ role: "user" as const, content: TEXT }];
  const { count } = await post<{ count: number }>("/tokenize", { model: MODEL, messages });
  const client = new OpenAI({ baseURL: `${serverUrl}/v1`, apiKey: "any", maxRetries: 0 });
  const { usage } = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 1 });
  expect(usage!.prompt_tokens).toBe(count);
});
