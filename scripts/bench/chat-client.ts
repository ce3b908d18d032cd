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

/** One answer. @param seed also picks the question */
export async function streamChat({ url, model }: ChatTarget, seed: number, maxTokens: number): Promise<StreamTimes> {
  const startMs = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: `${seed}: ${PROMPTS[seed % PROMPTS.length]}` }],
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

/** Data of each event of a stream. */
export async function* sseData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body) {
    const events = (text + decoder.decode(bytes, { stream: true })).split("\n\n");
    text = events.pop() ?? "";
    // A session's events have their id in front.
    for (const line of events.flatMap((event) => event.split("\n"))) {
      if (line.startsWith("data: ")) yield line.slice("data: ".length);
    }
  }
}
