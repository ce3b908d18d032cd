/**
 * Speculation on the real engine: with drafts and without, the same text and the same logprobs, on every kernel set. It
 * rests on the engine's batch invariance, bit for bit; a kernel that rounds a row differently beside others fails here.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { KERNEL_SETS, type KernelSet } from "../../../src/backends/cpu/kernel-set.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import type { ChatMessage, GenerateEvent, GenerateRequest, SamplingParams } from "../../../src/protocol/generate.ts";
import { PLAIN_REQUEST } from "../../../src/protocol/plain-request.ts";
import type { Backend } from "../../../src/serving/backend.ts";
import type { Transcript } from "../../../src/serving/language-model.ts";
import { createLanguageModel, type ServedModel } from "../../../src/serving/served-model.ts";
import type { SpeculationOption } from "../../../src/serving/speculation.ts";
import { encodeChat, loadText } from "../../../src/text/index.ts";
import { GREEDY } from "../../support/sampling.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";
import { loadBytes } from "./support.ts";

const DEMO = join(import.meta.dirname, "../../../public/models/demo.gguf");

/** The engine as if further rows were cheap, so that drafts are verified often. */
function draftingGladly(backend: Backend): Backend {
  const { limits, name, memory } = backend;
  return {
    limits,
    name,
    memory,
    rowCost: 0.25,
    step: (batch) => backend.step(batch),
    readBlock: (block) => backend.readBlock(block),
    writeBlock: (block, bytes) => backend.writeBlock(block, bytes),
    dispose: () => backend.dispose(),
  };
}

async function serve(bytes: Uint8Array, set: KernelSet, speculation: SpeculationOption): Promise<ServedModel> {
  const file = await readGguf(memorySource(bytes, "model"));
  await file.data.cancel();
  const { tokenizer, template } = loadText(file.header, { nowMs: () => 0 });
  return createLanguageModel({
    id: "model",
    backend: draftingGladly(await loadBytes(bytes, set, { maxBatchSequences: 4 })),
    tokenizer,
    embedding: { width: 4, pooling: "last" },
    encodeChat: (messages, transcript) =>
      encodeChat(tokenizer, template, messages, { addGenerationPrompt: true, transcript }),
    clock: () => 0,
    random: () => 0.5,
    limits: { numWaitingMax: 8, speculation },
    onCrash: (error) => {
      throw error;
    },
    onFault: (error) => {
      throw error;
    },
  });
}

interface Ask {
  sampling: Partial<SamplingParams>;
  messages: ChatMessage[];
  n?: number;
  maxTokens?: number;
  transcript?: Transcript;
}

/** The events of one answer, and its transcript. */
function ask(model: ServedModel, { sampling, messages, n = 1, maxTokens = 60, transcript }: Ask) {
  const request: GenerateRequest = {
    ...PLAIN_REQUEST,
    requestId: "r",
    model: "model",
    prompts: [{ kind: "chat", messages }],
    n,
    sampling: { ...GREEDY, seed: 7, ...sampling },
    maxTokens,
    ignoreEos: true,
    logprobs: 2,
  };
  const generation = model.generate(request, transcript === undefined ? {} : { transcript });
  const events: GenerateEvent[] = [];
  for (let event = generation.next(); event !== null; event = generation.next()) {
    if (event instanceof Promise) throw new Error("This engine steps synchronously.");
    events.push(event);
  }
  return { events, transcript: generation.transcript() };
}

/** What must be equal: everything of a stream but what tells of steps and drafts. */
function comparable(events: readonly GenerateEvent[], index: number) {
  const deltas = events.filter((event) => event.type === "delta").filter((delta) => delta.index === index);
  return {
    text: deltas.map(({ text }) => text).join(""),
    tokens: deltas.flatMap(({ tokens }) => tokens!),
    cachedTokens: events.map((event) => (event.type === "start" ? event.cachedTokens : null)),
    ends: events.filter((event) => event.type === "finish").filter((finish) => finish.index === index),
  };
}

const SAMPLINGS: [string, Partial<SamplingParams>][] = [
  ["greedy", {}],
  ["temperature 1", { temperature: 1, topK: 3 }],
  [
    "all penalties",
    { temperature: 0.8, topK: 4, repetitionPenalty: 1.05, presencePenalty: 0.1, frequencyPenalty: 0.05 },
  ],
];

const REPETITIVE = "the token of the token and the token of the token and the token of the token and";

describe.each(KERNEL_SETS)("%s", (set) => {
  test.each(SAMPLINGS)("%s: two turns of a chat, the same with drafts", async (_, sampling) => {
    const bytes = tinyModelBytes({ seed: 5, contextLength: 512, numLayers: 1 });
    const [plain, drafting] = [await serve(bytes, set, "off"), await serve(bytes, set, { maxDrafts: 8 })];
    const turns = [plain, drafting].map((model) => {
      const messages: ChatMessage[] = [{ role: "user", content: REPETITIVE }];
      const first = ask(model, { sampling, messages, maxTokens: 120 });
      const reply = comparable(first.events, 0).text;
      messages.push({ role: "assistant", content: reply }, { role: "user", content: REPETITIVE });
      const second = ask(model, { sampling, messages, maxTokens: 80, transcript: first.transcript });
      return [comparable(first.events, 0), comparable(second.events, 0)];
    });
    expect(turns[1]).toEqual(turns[0]);
    // The second turn found the first in the cache, accepted drafts included.
    expect(turns[1]![1]!.cachedTokens[0]).toBeGreaterThan(40);
    const { numAcceptedTokens, numRunning, numFreeBlocks, numBlocks } = drafting.stats;
    expect(numAcceptedTokens).toBeGreaterThan(0);
    expect([numRunning, numFreeBlocks]).toEqual([0, numBlocks]);
    expect(plain.stats.numDraftedTokens).toBe(0);
  });

  test("two choices, more rows than a call has outputs for: the same with drafts", async () => {
    const bytes = tinyModelBytes({ seed: 6, contextLength: 512, weightType: "Q8_0" });
    const messages: ChatMessage[] = [{ role: "user", content: REPETITIVE }];
    const [plain, drafting] = await Promise.all([serve(bytes, set, "off"), serve(bytes, set, { maxDrafts: 8 })]);
    const choices = [plain, drafting].map((model) => {
      const { events } = ask(model, { sampling: { temperature: 0.3, topK: 2 }, messages, n: 2, maxTokens: 150 });
      return [comparable(events, 0), comparable(events, 1)];
    });
    expect(choices[1]).toEqual(choices[0]);
    expect(drafting.stats.numAcceptedTokens).toBeGreaterThan(0);
  });
});

test("the demo says the same with drafts, in fewer steps where it repeats itself", async () => {
  const bytes = new Uint8Array(readFileSync(DEMO));
  const set = KERNEL_SETS[0]!;
  const [plain, drafting] = [await serve(bytes, set, "off"), await serve(bytes, set, { maxDrafts: 8 })];
  for (const content of ["What is a KV block?", "Repeat after me: one two three one two three one two three"]) {
    for (const temperature of [0, 0.7]) {
      const asked = { sampling: { temperature }, messages: [{ role: "user" as const, content }], maxTokens: 160 };
      const [a, b] = [plain, drafting].map((model) => comparable(ask(model, asked).events, 0));
      expect(b).toEqual(a);
    }
  }
  // Each right draft is a step less, and there is no other difference.
  expect(drafting.stats.numAcceptedTokens).toBeGreaterThan(0);
  expect(drafting.stats.numSteps).toBe(plain.stats.numSteps - drafting.stats.numAcceptedTokens);
});
