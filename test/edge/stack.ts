/**
 * The whole stack inside workerd, through the Worker's front door: real routes, real Durable Objects, the real engine,
 * on small models with random weights that are put into R2 as `npm run model -- add` would.
 */
import { env, exports } from "cloudflare:workers";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { modelStore } from "../../src/edge/model-store.ts";
import { type ModelManifest, manifestKey, modelFileKey } from "../../src/model/catalog.ts";
import type { EngineStats } from "../../src/serving/language-model.ts";
import { type TinyModelOptions, tinyModelBytes } from "../support/tiny-model.ts";

export const BASE_URL = "http://edge.test";

/** Random weights say nothing sensible and never stop by themselves: every test sets how much it wants. */
export const TINY: TinyModelOptions = { contextLength: 1024, weightType: "Q8_0" };

export function request(path: string, init: RequestInit = {}): Promise<Response> {
  return exports.default.fetch(new Request(`${BASE_URL}${path}`, init));
}

export function post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body), ...init });
}

export interface ErrorBody {
  error: { message: string; type: string; code: string | null; param: string | null };
}

export async function errorOf(response: Response): Promise<ErrorBody["error"] & { status: number }> {
  const { error } = (await response.json()) as ErrorBody;
  return { ...error, status: response.status };
}

/** What a chunk of either chat stream holds, as far as tests look. */
export interface Chunk {
  choices: { index: number; delta: { content?: string }; finish_reason: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } } | null;
  error?: ErrorBody["error"];
}

/** Server-sent events of a response as they come; ends at [DONE]. */
export async function* chunksOf(response: Response): AsyncGenerator<Chunk, void, void> {
  let text = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (text + piece).split("\n\n");
    text = events.pop()!;
    for (const event of events) {
      if (event.startsWith(":")) continue;
      const data = event.replace(/^((event|id): .*\n)*data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data) as Chunk;
    }
  }
  throw new Error(`The stream ended without [DONE]; left: ${JSON.stringify(text)}`);
}

export interface Answer {
  text: string;
  finishReason: string | null;
  usage: NonNullable<Chunk["usage"]>;
}

/** A whole streamed answer that asked for usage. */
export async function answerOf(response: Response): Promise<Answer> {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  let text = "";
  let finishReason: string | null = null;
  let usage: Chunk["usage"] = null;
  for await (const chunk of chunksOf(response)) {
    if (chunk.error !== undefined) throw new Error(`error in the stream: ${chunk.error.message}`);
    text += chunk.choices[0]?.delta.content ?? "";
    finishReason = chunk.choices[0]?.finish_reason ?? finishReason;
    usage = chunk.usage ?? usage;
  }
  if (!usage) throw new Error("The stream had no usage.");
  return { text, finishReason, usage };
}

export const STREAM = {
  stream: true,
  stream_options: { include_usage: true },
  ignore_eos: true,
  temperature: 0,
} as const;

export function chat(model: string, content: string, numTokens: number): Record<string, unknown> {
  return { model, messages: [{ role: "user", content }], max_tokens: numTokens, ...STREAM };
}

/** Puts a random model into R2 under a name of its own, so that tests do not meet in one engine. */
export async function addTinyModel(id: string, options: TinyModelOptions = {}): Promise<string> {
  return addModelBytes(id, tinyModelBytes({ ...TINY, ...options }));
}

/** Any bytes, under a manifest that makes them a model of the list. */
export async function addModelBytes(id: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const manifest: ModelManifest = {
    id,
    name: id,
    description: null,
    file: `${id}.gguf`,
    sizeBytes: bytes.length,
    sha256: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    contextLength: TINY.contextLength!,
    parameters: null,
    quantization: null,
    architecture: "llama",
    license: null,
    capabilities: null,
    createdAt: null,
  };
  await env.MODELS.put(modelFileKey(manifest), bytes);
  await env.MODELS.put(manifestKey(id), JSON.stringify(manifest));
  // The Worker looks into the bucket twice a second at most for a name it does not know.
  while ((await modelStore.list(env)).every(({ info }) => info.id !== id)) {
    await modelStore.find(env, id).catch(() => scheduler.wait(100));
  }
  return id;
}

/** Engine counters of a model that is loaded. */
export function statsOf(model: string): EngineStats {
  return isolateEngine.report(env, model).stats;
}

export async function createSession(model: string, owner: string | null = null): Promise<{ id: string }> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (owner !== null) headers["x-runnel-owner"] = owner;
  const response = await request("/v1/sessions", { method: "POST", headers, body: JSON.stringify({ model }) });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as { id: string };
}
