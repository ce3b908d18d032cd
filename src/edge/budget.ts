/**
 * Who may hold how many bytes of an isolate. The platform gives JS heap and linear memory 128 MB together and the local
 * runtime enforces nothing, so this table is the enforcement: a model is planned in bytes before its weights are read,
 * gets the context and the KV pool that fit, and is refused with the numbers where too little is left.
 *
 * | holder                 | bytes                                                                       |
 * |------------------------|-----------------------------------------------------------------------------|
 * | script, runtime, requests, sessions' text, chunks in flight | `JS_RESERVE_BYTES`                     |
 * | tokenizer of a model   | `TOKENIZER_BYTES_PER_TOKEN` × its vocabulary                                |
 * | weights, scratch       | as the engine plans them                                                    |
 * | KV pool                | what is left, at least one context, at most `POOL_CONTEXTS_MAX` contexts    |
 */
import { modelUnusable } from "../protocol/errors.ts";

/** "128 MB" of the platform's limits, read the careful way. */
export const ISOLATE_BUDGET_BYTES = 128_000_000;

export const JS_RESERVE_BYTES = 24_000_000;

export const TOKENIZER_BYTES_PER_TOKEN = 400;

/** More than this many full contexts are never in use at once: an isolate decodes for a handful of streams. */
const POOL_CONTEXTS_MAX = 8;

/** A chat with less room than this ends after a turn or two. A model made for less keeps its own length. */
const CONTEXT_TOKENS_MIN = 512;

/** What a model needs, by owner. */
export interface Footprint {
  /** As the model was trained. */
  contextLength: number;
  vocabSize: number;
  weightsBytes: number;
  scratchBytes: number;
  blockTokens: number;
  kvBytesPerBlock: number;
}

export interface MemoryPlan {
  /** Prompt and output together; shorter than the model's own where its KV does not fit. */
  contextLength: number;
  numBlocks: number;
  kvBytes: number;
  tokenizerBytes: number;
  /** All that the model holds, KV pool and tokenizer included. */
  totalBytes: number;
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
 * The largest plan within a budget. The context depends on the whole budget alone, never on what else is loaded right
 * now: a model must not promise 2048 tokens today and 700 tomorrow. The KV pool takes what `freeBytes` leaves.
 *
 * @param budgetBytes of the isolate, reserve included
 * @param freeBytes of the budget, after the reserve and other models
 * @returns null where it would fit alone but not beside the others
 * @throws ApiError 422 with the numbers where it cannot fit at all
 */
export function planMemory(model: string, need: Footprint, budgetBytes: number, freeBytes: number): MemoryPlan | null {
  const tokenizerBytes = need.vocabSize * TOKENIZER_BYTES_PER_TOKEN;
  const fixedBytes = need.weightsBytes + need.scratchBytes + tokenizerBytes;
  const blocksIn = (bytes: number) => Math.floor((bytes - fixedBytes) / need.kvBytesPerBlock);
  const blocksFor = (tokens: number) => Math.ceil(tokens / need.blockTokens);

  const aloneBlocks = blocksIn(budgetBytes - JS_RESERVE_BYTES);
  const leastTokens = Math.min(need.contextLength, CONTEXT_TOKENS_MIN);
  if (aloneBlocks < blocksFor(leastTokens)) {
    throw modelUnusable(model, overBudget(need, tokenizerBytes, blocksFor(leastTokens), leastTokens, budgetBytes));
  }
  const contextLength = Math.min(need.contextLength, aloneBlocks * need.blockTokens);
  const contextBlocks = blocksFor(contextLength);
  const numBlocks = Math.min(blocksIn(freeBytes), contextBlocks * POOL_CONTEXTS_MAX);
  if (numBlocks < contextBlocks) return null;
  const kvBytes = numBlocks * need.kvBytesPerBlock;
  return { contextLength, numBlocks, kvBytes, tokenizerBytes, totalBytes: fixedBytes + kvBytes };
}

function overBudget(need: Footprint, tokenizerBytes: number, leastBlocks: number, leastTokens: number, budget: number) {
  const kvBytes = leastBlocks * need.kvBytesPerBlock;
  const neededBytes = need.weightsBytes + need.scratchBytes + tokenizerBytes + kvBytes;
  return (
    `it needs ${mb(neededBytes)} (weights ${mb(need.weightsBytes)}, KV of ${leastTokens} tokens ${mb(kvBytes)}, ` +
    `scratch ${mb(need.scratchBytes)}, tokenizer ${mb(tokenizerBytes)}), and ${mb(budget - JS_RESERVE_BYTES)} are ` +
    `there: the isolate's ${mb(budget)} less ${mb(JS_RESERVE_BYTES)} for everything else. Use a smaller model or a ` +
    "smaller quantization."
  );
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
