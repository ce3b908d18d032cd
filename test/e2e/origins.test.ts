/**
 * The whole chain of real processes: clients, the Worker, and an origin that is a Worker of ours, too, as any
 * OpenAI-compatible server could be. It is killed in mid-answer, and comes back.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, type RunningServer, startServer } from "./server.ts";

const persistTo = mkdtempSync(join(tmpdir(), "runnel-origins-"));
let originPort: number;
let origin: RunningServer;
let edge: RunningServer;
let client: OpenAI;

const startOrigin = () => startServer({ persistTo: join(persistTo, "origin"), port: originPort });

beforeAll(async () => {
  originPort = await freePort();
  const models = [{ id: "far", upstream: "runnel-demo" }];
  const origins = JSON.stringify([{ name: "far-away", kind: "runnel", url: `http://127.0.0.1:${originPort}`, models }]);
  [origin, edge] = await Promise.all([
    startOrigin(),
    startServer({ persistTo: join(persistTo, "edge"), args: ["--no-warm", "--var", `ORIGINS:${origins}`] }),
  ]);
  client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: "any", maxRetries: 0 });
});

afterAll(async () => {
  await Promise.all([edge.stop(), origin.stop()]);
  rmSync(persistTo, { recursive: true, force: true });
});

async function textOf(content: string): Promise<string> {
  const messages = [{ role: "user" as const, content }];
  const asked = { model: "far", messages, max_tokens: 40, temperature: 0, stream: true } as const;
  let text = "";
  for await (const chunk of await client.chat.completions.create(asked)) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}

test("sixteen answers at once are the same as one at a time", async () => {
  const topics = ["a KV cache", "a token", "attention", "batching", "a prompt", "sampling", "a stream", "a model"];
  const questions = topics.flatMap((topic) => [`What is ${topic}?`, `Tell me about ${topic}.`]);
  const alone: string[] = [];
  for (const question of questions) alone.push(await textOf(question));
  const together = await Promise.all(questions.map(textOf));
  expect(together).toEqual(alone);
  expect(new Set(alone).size).toBeGreaterThanOrEqual(8);
});

test("an answer goes on from its words", async () => {
  const whole = await textOf("What is a KV cache?");
  // Between two words, where the tokens of a text end, too.
  const known = whole.slice(0, whole.indexOf(" ", whole.length >> 1));
  const response = await fetch(`${edge.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "far",
      messages: [
        { role: "user", content: "What is a KV cache?" },
        { role: "assistant", content: known },
      ],
      continue_final_message: true,
      temperature: 0,
      max_tokens: 40,
    }),
  });
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  expect((known + choices[0]!.message.content).startsWith(whole)).toBe(true);
});

test("an origin that is killed in mid-answer is a clear error, and works again when it is back", async () => {
  const response = await fetch(`${edge.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "far",
      messages: [{ role: "user", content: "Tell me a story." }],
      stream: true,
      ignore_eos: true,
    }),
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value!;
  const killed = origin.stop();
  for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
  await killed;
  expect(text).toMatch(/"error":\{"message":"The answer of origin 'far-away' broke off: [^"]+","type":"server_error"/);
  expect(text).toMatch(/\[DONE\]\n\n$/);
  expect(text).not.toContain(String(originPort));
  await expect(textOf("Are you there?")).rejects.toMatchObject({ status: 502, code: "upstream_error" });
  origin = await startOrigin();
  expect(await textOf("What is a token?")).not.toBe("");
});
