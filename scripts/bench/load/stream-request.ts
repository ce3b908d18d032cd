/**
 * One streamed request to an OpenAI-compatible server, with a look at the clock at every chunk. A chunk is a token's when
 * it has choices, even without text (a token may be a part of a character). Not counted, though, is what many servers send
 * besides tokens: a chat's opening chunk, which names the role before anything was computed, and a closing one without text.
 */
import { sseData } from "../chat-client.ts";
import { failedOutcome, type RequestOutcome } from "./outcome.ts";

export type Endpoint = "completions" | "chat";

export interface LoadTarget {
  /** With "/v1" or what the server has instead. */
  baseUrl: string;
  endpoint: Endpoint;
  headers: Record<string, string>;
  /** Of every body: model, sampling, whatever a server wants besides. */
  fields: Record<string, unknown>;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  nowMs: () => number;
}

/** Prompt as the server gets it. */
export type WirePrompt = string | number[];

interface Chunk {
  choices?: {
    text?: string | null;
    delta?: { role?: string; content?: string | null; reasoning_content?: string | null };
    finish_reason?: string | null;
  }[];
  usage?: Usage | null;
  error?: { message?: string } | string;
}

interface Usage {
  prompt_tokens?: number;
  completion_tokens?: number;
  prompt_tokens_details?: { cached_tokens?: number } | null;
}

export interface Sending {
  /** Of the run's clock, see `RequestOutcome`. */
  startMs: number;
  queueMs: number;
  /** Counted where the server does not count. */
  promptTokens: number;
}

/** Never throws: what fails is the outcome's error. */
export async function streamRequest(
  target: LoadTarget,
  prompt: WirePrompt,
  outputTokens: number,
  sending: Sending,
): Promise<RequestOutcome> {
  const { startMs, queueMs } = sending;
  const path = target.endpoint === "chat" ? "chat/completions" : "completions";
  const sentMs = target.nowMs();
  try {
    const response = await target.fetch(`${target.baseUrl}/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...target.headers },
      body: JSON.stringify(bodyOf(target, prompt, outputTokens)),
    });
    if (!response.ok || response.body === null) {
      return failedOutcome(startMs, queueMs, `HTTP ${response.status}: ${(await response.text()).slice(0, 300)}`);
    }
    const { chunkTimesMs, usage } = await readChunks(response.body, target.nowMs);
    return outcomeOf(
      chunkTimesMs.map((timeMs) => timeMs - sentMs),
      usage,
      sending,
    );
  } catch (error) {
    return failedOutcome(startMs, queueMs, reasonOf(error));
  }
}

function bodyOf({ endpoint, fields }: LoadTarget, prompt: WirePrompt, outputTokens: number): Record<string, unknown> {
  const asked = endpoint === "chat" ? { messages: [{ role: "user", content: prompt }] } : { prompt };
  return { ...asked, max_tokens: outputTokens, stream: true, stream_options: { include_usage: true }, ...fields };
}

interface Read {
  chunkTimesMs: number[];
  usage: Usage | null;
}

/** @throws Error for an error in the stream, or a stream that ends before it said that it is done */
async function readChunks(body: ReadableStream<Uint8Array>, nowMs: () => number): Promise<Read> {
  const read: Read = { chunkTimesMs: [], usage: null };
  let closedAtMs: number | null = null;
  let isDone = false;
  for await (const data of sseData(body)) {
    const atMs = nowMs();
    if (data === "[DONE]") {
      isDone = true;
      break;
    }
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new Error(`The stream ends with an error: ${messageOf(chunk.error)}`);
    if (chunk.usage) read.usage = chunk.usage;
    const kind = kindOf(chunk);
    if (kind === "token") read.chunkTimesMs.push(atMs);
    if (kind === "closing") closedAtMs = atMs;
  }
  // The only token was one without text, such as the end of the answer.
  if (read.chunkTimesMs.length === 0 && closedAtMs !== null) read.chunkTimesMs.push(closedAtMs);
  if (!isDone && closedAtMs === null && read.usage === null) throw new Error("The stream was cut off.");
  return read;
}

function kindOf({ choices }: Chunk): "token" | "opening" | "closing" | "other" {
  const choice = choices?.[0];
  if (choice === undefined) return "other";
  const { text, delta, finish_reason: reason } = choice;
  if (text || delta?.content || delta?.reasoning_content) return "token";
  if (reason != null) return "closing";
  return delta?.role === undefined ? "token" : "opening";
}

/** @param chunkTimesMs since it was sent */
function outcomeOf(
  chunkTimesMs: readonly number[],
  usage: Usage | null,
  { promptTokens, startMs, queueMs }: Sending,
): RequestOutcome {
  if (chunkTimesMs.length === 0) return failedOutcome(startMs, queueMs, "The stream ended without a token.");
  return {
    startMs,
    queueMs,
    ttftMs: chunkTimesMs[0]!,
    latencyMs: chunkTimesMs.at(-1)!,
    itlMs: chunkTimesMs.slice(1).map((timeMs, i) => timeMs - chunkTimesMs[i]!),
    promptTokens: usage?.prompt_tokens ?? promptTokens,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? null,
    outputTokens: usage?.completion_tokens ?? chunkTimesMs.length,
    error: null,
  };
}

function messageOf(error: { message?: string } | string): string {
  return typeof error === "string" ? error : (error.message ?? JSON.stringify(error));
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } };
  return [message ?? String(error), cause?.message].filter((part) => part !== undefined).join(": ");
}
