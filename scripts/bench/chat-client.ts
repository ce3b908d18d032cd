/** A streaming client that looks at the clock: numbers over HTTP, as a user gets them. */
import { CommandError } from "../model/errors.ts";

export interface StreamTimes {
  startMs: number;
  /** Of the first and the last piece of text. */
  firstMs: number;
  lastMs: number;
  numTokens: number;
}

interface Chunk {
  choices: { delta: { content?: string } }[];
  usage?: { completion_tokens: number } | null;
  error?: { message: string };
}

/** Different first words, so that no run finds another one's prompt in the prefix cache. */
const PROMPTS = ["What is prefill?", "Explain the KV cache.", "Why do batches help?", "Tell me about quantization."];

export interface ChatTarget {
  url: string;
  /** Id of the model that answers. */
  model: string;
}

/** A question that differs from all of other seeds from its first word on. */
export function questionOf(seed: number): string {
  return `${seed}: ${PROMPTS[seed % PROMPTS.length]}`;
}

/** One answer. @param seed also picks the question */
export function streamChat({ url, model }: ChatTarget, seed: number, maxTokens: number): Promise<StreamTimes> {
  const messages = [{ role: "user", content: questionOf(seed) }];
  return streamAnswer(`${url}/v1/chat/completions`, { model, messages }, seed, maxTokens);
}

/** @param fields of the body, besides what every measured answer asks for */
export async function streamAnswer(url: string, fields: object, seed: number, maxTokens: number): Promise<StreamTimes> {
  const startMs = performance.now();
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...fields,
      max_tokens: maxTokens,
      ignore_eos: true,
      seed,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!response.ok || response.body === null) {
    throw new CommandError(`The server answers ${response.status}: ${await response.text()}`);
  }
  let firstMs: number | null = null;
  let lastMs = startMs;
  let numTokens = 0;
  for await (const data of sseData(response.body)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new CommandError(`The stream ends with an error: ${chunk.error.message}`);
    if (chunk.usage) numTokens = chunk.usage.completion_tokens;
    if (!chunk.choices[0]?.delta.content) continue;
    lastMs = performance.now();
    firstMs ??= lastMs;
  }
  return { startMs, firstMs: firstMs ?? lastMs, lastMs, numTokens };
}

/** Over all streams, from the first token anywhere to the last one. */
export function tokensPerS(times: readonly StreamTimes[]): number {
  const firstMs = Math.min(...times.map((stream) => stream.firstMs));
  const lastMs = Math.max(...times.map((stream) => stream.lastMs));
  const numTokens = times.reduce((sum, stream) => sum + stream.numTokens, 0);
  return (1000 * (numTokens - times.length)) / (lastMs - firstMs);
}

/** Data of each event of a stream; each is one line, as every OpenAI-compatible server sends it. */
export async function* sseData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body) {
    const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) {
      // Other lines are ids, comments, and the empty one after an event.
      if (line.startsWith("data:")) yield line.slice("data:".length).trim();
    }
  }
}
