/**
 * Who may hold how many bytes of an isolate. The platform gives JS heap and linear memory 128 MB together and the local
 * runtime enforces nothing, so this table is the enforcement: a model is planned in bytes before its weights are read,
 * gets the context and the KV pool that fit, and is refused with the numbers where too little is left.
 *
 * | holder                                                      | bytes                                             |
 * |-------------------------------------------------------------|---------------------------------------------------|
 * | script, runtime, garbage, and what follows                  | `JS_RESERVE_BYTES`, of it at most                 |
 * | · events of all answers, unread or kept for a session's tabs | `EVENT_BYTES_MAX` (`event-memory.ts`), enforced  |
 * | · requests that run and wait, with their prompts            | 8 + `NUM_WAITING_MAX` of a context each, then 429 |
 * | · a chunk on its way to a reader, however late it reads     | `EVENTS_PER_CHUNK_MAX` events, pulled one by one  |
 * | · messages that wait for a session's answer                 | none: in its storage, `SESSION_QUEUE_MAX` of them |
 * | · KV rows on their way to storage                           | one transaction, 2 MB (`kv-store.ts`)             |
 * | · KV rows on their way back                                 | of one query, 8, mostly under 200 KB each         |
 * | tokenizer of a model                                        | `tokenizerBytesOf` its vocabulary and merges      |
 * | weights, scratch                                            | exactly, as the engine plans its linear memory    |
 * | KV pool                                                     | what is left: at least one context, at most       |
 * |                                                             | `BATCH_SEQUENCES_MAX` contexts or `POOL_BYTES_MAX` |
 */
import { type CpuMemoryPlan, type KvPrecision, planCpuMemory } from "../backends/cpu/memory-plan.ts";
import type { GgufHeader, GgufValue } from "../model/gguf.ts";
import type { ModelSpec } from "../model/model-spec.ts";
import { modelUnusable } from "../protocol/errors.ts";

/** "128 MB" of the platform's limits, read the careful way. */
export const ISOLATE_BUDGET_BYTES = 128_000_000;

/**
 * Measured (`npm run bench:memory`): beside the tokenizer some 5 MB are live under four streams. The rest is for garbage
 * that waits for its collection, of which V8 leaves less the nearer the limit is.
 */
export const JS_RESERVE_BYTES = 14_500_000;

/** A little above two points of `scripts/verify-vocab.ts --memory`: 7 MB for 49k tokens and as many merges, 36 MB for 128k
 * and 280k. */
const TOKENIZER_BYTES_PER_TOKEN = 30;
const TOKENIZER_BYTES_PER_MERGE = 120;
/** A vocabulary without merges (SentencePiece) gets about as many when it is built. */
const MERGES_PER_TOKEN = 3;

/** A step for eight streams costs little more than one for four, and more readers than that queue for the CPU anyway. */
const BATCH_SEQUENCES_MAX = 8;

/** Running sequences get more where the context needs it; beyond that a larger pool only remembers more old prompts,
 * and every byte of it is missing where the estimates of this table are wrong. */
const POOL_BYTES_MAX = 32_000_000;

/** A chat with less room than this ends after a turn or two. A model made for less keeps its own length. */
const CONTEXT_TOKENS_MIN = 512;

/** A model whose cache in 16 bits leaves less than this (or less than its own context) gets one in q8: nearly twice the
 * tokens, for a rounding of K and V to 8 bits (NMSE of a random model's logits 2e-4 to 6e-4; 16 bits: below 1e-5). */
const ROOMY_CONTEXT_TOKENS = 2048;

/** For each model; the engine's defaults otherwise. */
const ENGINE = { blockTokens: 16, maxBatchSequences: BATCH_SEQUENCES_MAX } as const;

export interface ModelNeeds {
  spec: ModelSpec;
  tokenizerBytes: number;
  /** null = i16 where a roomy context fits with it, else q8. */
  kvPrecision: KvPrecision | null;
}

export interface MemoryPlan {
  engine: CpuMemoryPlan;
  tokenizerBytes: number;
  /** All that the model holds: linear memory and tokenizer. */
  totalBytes: number;
}

/** What the tokenizer will keep of the JS heap, estimated from the file's lists. */
export function tokenizerBytesOf({ metadata }: Pick<GgufHeader, "metadata">): number {
  const numTokens = lengthOf(metadata.get("tokenizer.ggml.tokens"));
  const numMerges = lengthOf(metadata.get("tokenizer.ggml.merges")) || numTokens * MERGES_PER_TOKEN;
  return numTokens * TOKENIZER_BYTES_PER_TOKEN + numMerges * TOKENIZER_BYTES_PER_MERGE;
}

/** @param variable value of MEMORY_BUDGET_BYTES, where it is set */
export function budgetFrom(variable: string | undefined): number {
  if (variable === undefined) return ISOLATE_BUDGET_BYTES;
  const bytes = Number(variable);
  if (Number.isSafeInteger(bytes) && bytes > JS_RESERVE_BYTES) return bytes;
  throw new Error(
    `MEMORY_BUDGET_BYTES is '${variable}'; it must be a whole number above the reserve of ${JS_RESERVE_BYTES}.`,
  );
}

/**
 * The plan for a model. Its context depends on the whole budget alone, never on what else is loaded right now: a model
 * must not promise 2048 tokens today and 700 tomorrow. The same holds for the precision of its KV cache. Its KV pool
 * takes what `freeBytes` leaves.
 *
 * @param budgetBytes of the isolate, reserve included
 * @param freeBytes of the budget, after the reserve and other models
 * @returns null where it would fit alone but not beside the others
 * @throws ApiError 422 with the numbers where it cannot fit at all
 */
export function planMemory(
  id: string,
  { spec, tokenizerBytes, kvPrecision: wantedPrecision }: ModelNeeds,
  budgetBytes: number,
  freeBytes: number,
): MemoryPlan | null {
  const blocksFor = (tokens: number) => Math.ceil(tokens / ENGINE.blockTokens);
  const fits = (plan: CpuMemoryPlan, bytes: number) => plan.totalBytes + tokenizerBytes <= bytes;
  const planIn = (kvPrecision: KvPrecision, contextLength: number, numBlocks = blocksFor(contextLength)) =>
    planCpuMemory(spec, { ...ENGINE, kvPrecision, contextLength, numBlocks });
  const roomyTokens = Math.min(spec.contextLength, ROOMY_CONTEXT_TOKENS);
  const fitting = fits(planIn("i16", roomyTokens), budgetBytes - JS_RESERVE_BYTES) ? "i16" : "q8";
  const kvPrecision = wantedPrecision ?? fitting;

  const least = planIn(kvPrecision, Math.min(spec.contextLength, CONTEXT_TOKENS_MIN));
  if (!fits(least, budgetBytes - JS_RESERVE_BYTES))
    throw modelUnusable(id, overBudget(least, tokenizerBytes, budgetBytes));

  const memoryBudgetBytes = budgetBytes - JS_RESERVE_BYTES - tokenizerBytes;
  const options = { ...ENGINE, kvPrecision } as const;
  const { contextLength } = planCpuMemory(spec, { ...options, memoryBudgetBytes });
  if (!fits(planIn(kvPrecision, contextLength), freeBytes)) return null;

  const most = planCpuMemory(spec, { ...options, contextLength, memoryBudgetBytes: freeBytes - tokenizerBytes });
  const worthwhileBlocks = Math.max(blocksFor(contextLength), Math.floor(POOL_BYTES_MAX / most.blockBytes));
  const engine = planIn(kvPrecision, contextLength, Math.min(most.numBlocks, worthwhileBlocks));
  return { engine, tokenizerBytes, totalBytes: engine.totalBytes + tokenizerBytes };
}

function overBudget(least: CpuMemoryPlan, tokenizerBytes: number, budgetBytes: number): string {
  return (
    `it needs ${mb(least.totalBytes + tokenizerBytes)} (weights ${mb(least.weightsBytes)}, KV of ` +
    `${least.contextLength} tokens ${mb(least.kvBytes)}, scratch ${mb(least.scratchBytes)}, tokenizer ` +
    `${mb(tokenizerBytes)}), and ${mb(budgetBytes - JS_RESERVE_BYTES)} are there: the isolate's ${mb(budgetBytes)} less ` +
    `${mb(JS_RESERVE_BYTES)} for everything else. Use a smaller model or a smaller quantization.`
  );
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function lengthOf(value: GgufValue | undefined): number {
  return Array.isArray(value) ? value.length : 0;
}
