/** A language model over the hash model, with a clock and randomness of its own, and readers for its events. */
import type { ChatMessage, GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import { PLAIN_REQUEST } from "../../../src/protocol/plain-request.ts";
import type { BackendLimits } from "../../../src/serving/backend.ts";
import type { Pooling } from "../../../src/serving/embedding.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import type { Generation, Transcript } from "../../../src/serving/language-model.ts";
import { createLanguageModel, type ServedModel } from "../../../src/serving/served-model.ts";
import { ByteTokenizer } from "./byte-tokenizer.ts";
import { EMBEDDING_WIDTH, HashModelBackend } from "./hash-model.ts";

export const tokenizer = new ByteTokenizer([..."abcdefghijklmnopqrstuvwxyz ", [0xc3], [0xa9]]);
export const { vocabSize } = tokenizer;

export interface World {
  model: ServedModel;
  backend: HashModelBackend;
  /** What the injected clock says; each step of the backend takes 10 ms. */
  nowMs: number;
  crashes: unknown[];
  faults: string[][];
}

export function world(
  limits: Partial<BackendLimits> = {},
  engineLimits: Partial<EngineLimits> = {},
  pooling: Pooling = "last",
): World {
  const backend = new HashModelBackend({ vocabSize, ...limits });
  const random = [0.1, 0.2, 0.3, 0.4];
  const here: World = { backend, nowMs: 1000, crashes: [], faults: [], model: undefined as unknown as ServedModel };
  here.model = createLanguageModel({
    id: "tiny",
    backend,
    adapters: Array.from({ length: backend.limits.numAdapters }, (_, i) => `adapter-${i + 1}`),
    tokenizer,
    embedding: { width: EMBEDDING_WIDTH, pooling },
    encodeChat,
    clock: () => here.nowMs,
    random: () => random.shift()!,
    limits: { numWaitingMax: 8, ...engineLimits },
    onCrash: (error) => here.crashes.push(error),
    onFault: (_, requestIds) => here.faults.push(requestIds),
  });
  backend.onStep = () => {
    here.nowMs += 10;
  };
  return here;
}

/** `<user>…<bot>…<end>`, continuing a transcript where the text allows it. */
export function encodeChat(messages: readonly ChatMessage[], transcript?: Transcript): Transcript {
  const turns = messages.map(({ role, content }) => (role === "user" ? `<user>${content}` : `<bot>${content}<end>`));
  const text = `${turns.join("")}<bot>`;
  const known = transcript !== undefined && text.startsWith(transcript.text) ? transcript : { text: "", tokens: [1] };
  const rest = tokenizer.encode(text.slice(known.text.length), { addSpecialTokens: false, parseSpecial: true });
  return { text, tokens: [...known.tokens, ...rest] };
}

export function request(changes: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    ...PLAIN_REQUEST,
    requestId: "r1",
    model: "tiny",
    prompts: [{ kind: "text", text: "hello" }],
    maxTokens: 8,
    ignoreEos: true,
    ...changes,
  };
}

export function readAll(generation: Generation): GenerateEvent[] {
  const events: GenerateEvent[] = [];
  for (;;) {
    const event = generation.next();
    if (event instanceof Promise) throw new Error("A synchronous backend gave a promise.");
    if (event === null) return events;
    events.push(event);
  }
}

export async function readAllLater(generation: Generation): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for (let event = await generation.next(); event !== null; event = await generation.next()) events.push(event);
  return events;
}

export function textOf(events: readonly GenerateEvent[], index = 0): string {
  return events.map((event) => (event.type === "delta" && event.index === index ? event.text : "")).join("");
}

export function only<T extends GenerateEvent["type"]>(events: readonly GenerateEvent[], type: T) {
  return events.filter((event): event is Extract<GenerateEvent, { type: T }> => event.type === type);
}

/** Prompt ids as `generate` makes them of a text. */
export function idsOf(text: string): number[] {
  return tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: true });
}
