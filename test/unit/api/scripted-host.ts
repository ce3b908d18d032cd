/** A host whose answers are scripts: services in memory, a clock that a test moves, a log that it reads. */
import type { Hono } from "hono";
import { createApi } from "../../../src/api/app.ts";
import type { Clock } from "../../../src/api/clock.ts";
import type { ApiEnv, ApiOptions } from "../../../src/api/context.ts";
import type { LogRecord } from "../../../src/api/log.ts";
import type {
  EventStream,
  ModelInfo,
  ModelService,
  SessionAnswer,
  SessionInfo,
  SessionInit,
  SessionService,
  SessionStream,
  SessionTurnRequest,
} from "../../../src/api/model-service.ts";
import type { Embeddings, EmbedRequest } from "../../../src/protocol/embed.ts";
import { notFound } from "../../../src/protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import type { EventPosition } from "../../../src/protocol/sse-ids.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../../../src/protocol/tokenize.ts";
import { answer } from "../protocol/events.ts";
import { MemoryResponses } from "./kept-responses.ts";

export const MODEL: ModelInfo = {
  id: "org/demo",
  created: 1_700_000_000,
  parent: null,
  ownedBy: "runnel",
  contextLength: 512,
  description: "A demo.",
  architecture: "llama",
  quantization: "Q8_0",
  numParameters: 15_000_000,
  sizeBytes: 16_000_000,
  sha256: "0123456789abcdef".repeat(4),
  license: "MIT",
  capabilities: ["completion", "tools"],
  residency: "cpu",
};

/** An event, a thing to throw, or a promise of an event: an engine that is silent until the test says so. */
export type Step = GenerateEvent | Error | Promise<GenerateEvent>;

export class ScriptedEvents implements EventStream {
  readonly #steps: Step[];
  numNext = 0;
  numCancel = 0;

  constructor(steps: Step[]) {
    this.#steps = [...steps];
  }

  async next(): Promise<GenerateEvent | null> {
    this.numNext++;
    if (this.numCancel > 0) return null;
    const step = this.#steps.shift();
    if (step instanceof Error) throw step;
    return step ?? null;
  }

  cancel(): void {
    this.numCancel++;
  }
}

/** Time stands still until `advance`. */
export class ManualClock implements Clock {
  #nowMs = 1_700_000_000_000;
  readonly #timers = new Map<object, { atMs: number; callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  get numTimers(): number {
    return this.#timers.size;
  }

  after(delayMs: number, callback: () => void): () => void {
    const key = {};
    this.#timers.set(key, { atMs: this.#nowMs + delayMs, callback });
    return () => this.#timers.delete(key);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const [key, { atMs, callback }] of this.#timers) {
      if (atMs > this.#nowMs) continue;
      this.#timers.delete(key);
      callback();
    }
  }
}

export class ScriptedModels implements ModelService {
  list: ModelInfo[] = [MODEL];
  isReady = true;
  /** What the next generations answer; an Error refuses them. */
  script: Step[] | Error = answer("Hello", " you");
  readonly requests: { request: GenerateRequest; routingKey: string | null }[] = [];
  readonly streams: ScriptedEvents[] = [];

  async models(): Promise<ModelInfo[]> {
    return this.list;
  }

  async generate(request: GenerateRequest, routingKey: string | null): Promise<EventStream> {
    this.requests.push({ request, routingKey });
    if (this.script instanceof Error) throw this.script;
    const events = new ScriptedEvents(this.script);
    this.streams.push(events);
    return events;
  }

  readonly embedRequests: EmbedRequest[] = [];

  /** Unit vectors of four components, of which the i-th is the i-th prompt's one. */
  async embed(request: EmbedRequest): Promise<Embeddings> {
    this.embedRequests.push(request);
    if (this.script instanceof Error) throw this.script;
    const vectors = request.prompts.map((_, i) => Float32Array.from({ length: 4 }, (_, at) => Number(at === i % 4)));
    return { model: request.model, vectors, promptTokens: 3 * vectors.length };
  }

  /** A token for each character of a text or of the messages' contents. */
  async tokenize({ model, prompt, wantsTexts }: TokenizeRequest): Promise<Tokenized> {
    const text = prompt.kind === "text" ? prompt.text : "";
    const chat = prompt.kind === "chat" ? prompt.messages.map(({ content }) => content).join("") : text;
    const tokens = prompt.kind === "tokens" ? prompt.tokens : Array.from(chat, (char) => char.codePointAt(0)!);
    const texts = wantsTexts ? tokens.map((token) => String.fromCodePoint(token)) : null;
    return { model, tokens, texts, contextLength: 2048 };
  }

  async detokenize({ model, tokens }: DetokenizeRequest): Promise<Detokenized> {
    return { model, text: String.fromCodePoint(...tokens) };
  }

  async ready() {
    return { ready: this.isReady, detail: { model: MODEL.id } };
  }
}

export class ScriptedSessions implements SessionService {
  script: Step[] | Error = answer("Hello", " you");
  readonly sessions = new Map<string, SessionInfo & { owner: string | null }>();
  readonly sent: SessionTurnRequest[] = [];
  numTruncated = 0;
  /** What there is to take up; an Error refuses it. */
  open: Omit<SessionStream, "events" | "frame"> | Error | null = null;
  readonly forks: { messageId: number | null; title: string | null }[] = [];
  readonly streams: ScriptedEvents[] = [];
  readonly #ofKeys = new Map<string, ScriptedSessions>();

  of(keyId: string): ScriptedSessions {
    const sessions = this.#ofKeys.get(keyId) ?? new ScriptedSessions();
    this.#ofKeys.set(keyId, sessions);
    return sessions;
  }

  async create({ model, system, title }: SessionInit, owner: string | null): Promise<SessionInfo> {
    const id = `session-${String(this.sessions.size).padStart(24, "0")}`;
    const times = { createdAtMs: 1_700_000_000_000, updatedAtMs: 1_700_000_000_000 };
    const messages =
      system === null
        ? []
        : [{ id: 1, role: "system" as const, content: system, createdAtMs: 1_700_000_000_000, finishReason: null }];
    const session = { id, title: title ?? "New chat", model, ...times, numMessages: messages.length };
    this.sessions.set(id, { ...session, messages, busy: false, numTruncated: 0, owner });
    return this.get(id);
  }

  async list(owner: string) {
    return [...this.sessions.values()].filter((session) => session.owner === owner);
  }

  async get(id: string): Promise<SessionInfo> {
    const session = this.sessions.get(id);
    if (session === undefined) throw notFound(`The session '${id}'`);
    return session;
  }

  async delete(id: string): Promise<void> {
    await this.get(id);
    this.sessions.delete(id);
  }

  async send(id: string, request: SessionTurnRequest): Promise<SessionAnswer> {
    await this.get(id);
    this.sent.push(request);
    return { events: this.#events(), turn: 2, numTruncated: this.numTruncated, fallbackModel: null };
  }

  async stream(id: string, turn: number | null): Promise<SessionStream | null> {
    await this.get(id);
    if (this.open instanceof Error) throw this.open;
    if (this.open === null || (turn === null && this.open.hasEnded)) return null;
    return { ...this.open, events: this.#events(), frame: this.sent.at(-1)!.frame };
  }

  /** No upgrade exists here: the answer tells what was asked for. */
  async connect(id: string, position: EventPosition | null): Promise<Response> {
    await this.get(id);
    return Response.json({ id, position });
  }

  async fork(id: string, fork: { messageId: number | null; title: string | null }, owner: string | null) {
    const { model } = await this.get(id);
    this.forks.push(fork);
    return this.create({ model, system: null, title: fork.title }, owner);
  }

  #events(): ScriptedEvents {
    if (this.script instanceof Error) throw this.script;
    const events = new ScriptedEvents(this.script);
    this.streams.push(events);
    return events;
  }

  async stop(id: string): Promise<boolean> {
    return (await this.get(id)).busy;
  }
}

export interface Host {
  app: Hono<ApiEnv>;
  models: ScriptedModels;
  sessions: ScriptedSessions;
  responses: MemoryResponses;
  clock: ManualClock;
  records: LogRecord[];
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

export const ORIGIN = "http://edge.test";

/** @param more options of the API beyond those that every host has */
export function scriptedHost(
  more: Omit<Partial<ApiOptions>, "models" | "sessions" | "clock" | "log"> = {},
  models: ScriptedModels = new ScriptedModels(),
): Host {
  const sessions = new ScriptedSessions();
  const responses = new MemoryResponses();
  const clock = new ManualClock();
  const records: LogRecord[] = [];
  let numIds = 0;
  const randomId = () => `id-${String(++numIds).padStart(30, "0")}`;
  const app = createApi({
    models,
    sessions,
    responses,
    clock,
    randomId,
    log: (record) => records.push(record),
    ...more,
  });
  const post = async (path: string, body: unknown, init: RequestInit = {}) =>
    app.request(`${ORIGIN}${path}`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
      headers: { "content-type": "application/json", ...(init.headers as Record<string, string>) },
    });
  return { app, models, sessions, responses, clock, records, post };
}

export const CHAT = { model: "org/demo", messages: [{ role: "user", content: "Hi" }] };

export async function errorOf(response: Response) {
  const { error } = (await response.json()) as {
    error: { message: string; type: string; param: string | null; code: string | null };
  };
  return error;
}
