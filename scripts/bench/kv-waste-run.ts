/**
 * The share of the KV cache that paging wastes, in the serving core as it is: scheduler, block manager and prefix cache
 * with a backend that computes nothing. Lengths are drawn as those of ShareGPT's conversations are spread: log-normal
 * with the means that the PagedAttention paper gives for its trace.
 */

import { GREEDY } from "../../src/protocol/greedy.ts";
import type { Backend, StepBatch } from "../../src/serving/backend.ts";
import { Engine } from "../../src/serving/engine.ts";
import { Sequence } from "../../src/serving/sequence.ts";
import { uniformSource } from "../../test/support/random.ts";

export interface KvWasteOptions {
  numRequests: number;
  /** Sequences that run at once. */
  numRunning: number;
  blockTokens: number;
  /** Of all requests, as a mean. */
  promptTokens: number;
  outputTokens: number;
  /** Choices of each request: they share their prompt's blocks. */
  n: number;
  /** Most tokens of a step. */
  batchTokens: number;
  seed: number;
}

export interface KvWaste {
  /** Slots that hold nothing, of those that are taken; over all steps that were under full load. */
  meanShare: number;
  /** Of the worst of these steps. */
  mostShare: number;
  numSteps: number;
  /** Means over these steps. */
  numRunning: number;
  numTakenSlots: number;
  numPreemptions: number;
}

/** ShareGPT's in the paper. */
export const SHARE_GPT = { promptTokens: 161, outputTokens: 338 } as const;
const CONTEXT_TOKENS = 2048;
/** Of prompts and of answers, so that both fit. */
export const LENGTH_MAX = CONTEXT_TOKENS >> 1;
const VOCAB_SIZE = 50_000;
/** Of the logarithm: where the median is well below the mean, as in the paper's figure 11. */
const SPREAD = 1;
/** Enough that nobody is preempted, so that the load is the requests' own. */
const BLOCKS_PER_SEQUENCE = CONTEXT_TOKENS;

export function measureKvWaste(options: KvWasteOptions): KvWaste {
  const { numRequests, numRunning, blockTokens, batchTokens, n } = options;
  const uniform = uniformSource(options.seed);
  const backend = emptyBackend(options, uniform);
  const numPlaces = Math.max(1, Math.floor(numRunning / n));
  const engine = new Engine({
    backend,
    limits: { numWaitingMax: numRequests, numRunningMax: numRunning, tokenBudget: batchTokens, speculation: "off" },
    onCrash: (error) => {
      throw error;
    },
  });
  const waiting = Array.from({ length: numRequests }, (_, i) => request(i, options, uniform));
  const totals = { unused: 0, taken: 0, running: 0, steps: 0, most: 0 };
  while (true) {
    let numOpen = engine.stats.numRunning + engine.stats.numWaiting * n;
    while (numOpen + n <= numPlaces * n && waiting.length > 0) {
      engine.add([waiting.shift()!]);
      numOpen += n;
    }
    if (engine.step() === false) break;
    // Neither the beginning, when all prompts are new, nor the end, when places stay empty, is the load.
    if (waiting.length > numRequests - 2 * numPlaces || waiting.length === 0) continue;
    const { numUnusedSlots, numBlocks, numFreeBlocks, numRunning: running } = engine.stats;
    const numTaken = (numBlocks - numFreeBlocks) * blockTokens;
    if (numTaken === 0) continue;
    totals.unused += numUnusedSlots;
    totals.taken += numTaken;
    totals.running += running;
    totals.steps++;
    totals.most = Math.max(totals.most, numUnusedSlots / numTaken);
  }
  return {
    meanShare: totals.unused / totals.taken,
    mostShare: totals.most,
    numSteps: totals.steps,
    numRunning: totals.running / totals.steps,
    numTakenSlots: totals.taken / totals.steps,
    numPreemptions: engine.stats.numPreemptions,
  };
}

/** Its tokens are any: choices that said the same would share their blocks. */
function emptyBackend({ blockTokens, numRunning, batchTokens }: KvWasteOptions, uniform: () => number): Backend {
  const row = () => ({ token: Math.floor(uniform() * VOCAB_SIZE), logprob: null, top: [], logits: null });
  return {
    limits: {
      vocabSize: VOCAB_SIZE,
      contextLength: CONTEXT_TOKENS,
      blockTokens,
      numBlocks: Math.ceil((numRunning * BLOCKS_PER_SEQUENCE) / blockTokens),
      maxBatchTokens: batchTokens,
      maxBatchSequences: numRunning,
      numAdapters: 0,
      numStepsInFlight: 1,
    },
    name: "empty",
    memory: { weightsBytes: 0, kvBytes: 0, scratchBytes: 0 },
    step: ({ sequences }: StepBatch) => ({ rows: sequences.flatMap(({ outputs }) => outputs.map(row)) }),
    readBlock: () => new Uint8Array(),
    writeBlock: () => {},
    dispose: () => {},
  };
}

function request(index: number, options: KvWasteOptions, uniform: () => number): Sequence {
  const numPrompt = lengthAround(options.promptTokens, uniform);
  const maxTokens = Math.min(lengthAround(options.outputTokens, uniform), CONTEXT_TOKENS - numPrompt);
  const common = {
    requestId: `request-${index}`,
    // Each begins with itself: no two share a prefix.
    promptTokens: Array.from({ length: numPrompt }, (_, i) => (i === 0 ? index : Math.floor(uniform() * VOCAB_SIZE))),
    maxTokens: Math.max(1, maxTokens),
    sampling: GREEDY,
    rngKey: [index, 0] as [number, number],
    numLogprobs: null,
    scorePrompt: false,
    cacheSalt: "",
    listener: SILENT,
  };
  const siblings = Array.from({ length: options.n - 1 }, () => new Sequence(common));
  return new Sequence({ ...common, siblings });
}

/** Nobody reads; each goes on to its `maxTokens`. */
const SILENT = {
  admitted: () => {},
  promptScored: () => {},
  prefilled: () => {},
  token: () => false,
  finished: () => {},
  failed: (error: unknown) => {
    throw error;
  },
};

/** Log-normal with this mean, cut. */
function lengthAround(mean: number, uniform: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const length = Math.round(Math.exp(Math.log(mean) - SPREAD ** 2 / 2 + SPREAD * normal));
  return Math.min(Math.max(1, length), LENGTH_MAX);
}
