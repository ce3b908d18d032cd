/** A whole model of a known shape, random weights: decode of many batches, prefill, prefix hits, many requests at once. */
import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import type { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { placeSequence, promptTokens } from "../running-sequences.ts";
import { round } from "../statistics.ts";
import { type DecodeResult, measureDecode, prefill } from "./decode-run.ts";
import { measurePrefixHit, measureServing, type ServingShape } from "./engine-run.ts";
import { loadRandomModel, type RandomModel } from "./random-model.ts";
import type { Section, SectionContext } from "./section.ts";

interface ModelSizes {
  batches: number[];
  contextTokens: number;
  /** For attention over a long context, with a few sequences. */
  longContextTokens: number;
  longBatches: number[];
  prefixTokens: number;
  serving: ServingShape;
  stepsMin: number;
  stepsMax: number;
  leastMs: number;
  maxBatchTokens: number;
}

const GPU_SIZES: ModelSizes = {
  batches: [1, 8, 32, 128],
  contextTokens: 1024,
  longContextTokens: 8192,
  longBatches: [1, 8],
  prefixTokens: 4096,
  serving: { requests: 64, promptTokens: 512, newTokens: 128 },
  stepsMin: 8,
  stepsMax: 48,
  leastMs: 1000,
  maxBatchTokens: 2048,
};

const SOFTWARE_SIZES: ModelSizes = {
  batches: [1, 2],
  contextTokens: 16,
  longContextTokens: 48,
  longBatches: [1],
  prefixTokens: 48,
  serving: { requests: 3, promptTokens: 16, newTokens: 4 },
  stepsMin: 2,
  stepsMax: 2,
  leastMs: 0,
  maxBatchTokens: 64,
};

/** In software both are the toy, in the given weights. */
export function modelSection(model: RandomModel, budgetS: Section["budgetS"]): Section {
  return {
    name: `${model.shape} ${model.mix}`,
    budgetS,
    async run(context) {
      const sizes = context.software ? SOFTWARE_SIZES : GPU_SIZES;
      const backend = await loadLargest(context, model, sizes);
      try {
        await measure(context, backend, sizes);
      } finally {
        backend.dispose();
      }
    },
  };
}

/** With room for the largest batch that the card's memory holds. */
async function loadLargest(
  { software, report, say, hasTime }: SectionContext,
  model: RandomModel,
  sizes: ModelSizes,
): Promise<GpuBackend> {
  const shape = software ? { ...model, shape: "tiny" as const } : model;
  const slack = sizes.stepsMax + 16;
  const blocks = (tokens: number) => Math.ceil((tokens + slack) / 16) + 1;
  const longBlocks = Math.max(...sizes.longBatches) * blocks(sizes.longContextTokens);
  for (const batch of [...sizes.batches].reverse()) {
    const beganMs = performance.now();
    const device = await GpuDevice.open({ software });
    try {
      const backend = await loadRandomModel(device, shape, {
        maxBatchSequences: Math.max(batch, sizes.serving.requests),
        maxBatchTokens: sizes.maxBatchTokens,
        contextLength: sizes.longContextTokens + slack,
        numBlocks: Math.max(batch * blocks(sizes.contextTokens), longBlocks),
      });
      report("loadS", round((performance.now() - beganMs) / 1000));
      report("memory", backend.memory);
      report("largestBatch", batch);
      say(`${(backend.memory.weightsBytes / 1e9).toFixed(2)} GB of weights, room for a batch of ${batch}`);
      return backend;
    } catch (error) {
      device.destroy();
      report(`no batch of ${batch}`, String(error));
      if (batch === Math.min(...sizes.batches) || !hasTime()) throw error;
    }
  }
  throw new Error("There is no batch to make room for.");
}

async function measure(context: SectionContext, backend: GpuBackend, sizes: ModelSizes): Promise<void> {
  const { report, say, hasTime } = context;
  const readGbPerS = (context.known.ceilings as { readGbPerS?: number } | undefined)?.readGbPerS;
  const common = { stepsMin: sizes.stepsMin, stepsMax: sizes.stepsMax, leastMs: sizes.leastMs, readGbPerS };
  const fits = (batch: number) => batch <= backend.limits.maxBatchSequences;
  const decode = async (name: string, batches: readonly number[], contextTokens: number) => {
    const results: DecodeResult[] = [];
    for (const batch of batches) {
      if (!hasTime() || !fits(batch)) break;
      results.push(await measureDecode(backend, { ...common, batch, contextTokens }));
      report(name, results);
      const { tokensPerS, ofRead } = results.at(-1)!;
      const share = ofRead === null ? "" : `, ${Math.round(100 * ofRead)} % of the memory's speed`;
      say(`decode of ${batch} at ${contextTokens}: ${tokensPerS} tokens/s${share}`);
    }
  };
  await decode("decode", sizes.batches, sizes.contextTokens);
  if (hasTime()) report("prefill", await measurePrefill(backend, sizes));
  if (hasTime()) report("serving", await measureServing(backend, sizes.serving));
  if (hasTime()) report("prefixHit", await measurePrefixHit(backend, sizes.prefixTokens, context.software ? 1 : 3));
  await decode("decodeLong", sizes.longBatches, sizes.longContextTokens);
  if (hasTime()) report("servingOneStepInFlight", await measureServing(backend, sizes.serving, 1));
  if (hasTime()) report("oneRequest", await measureDepths(backend, { ...sizes.serving, requests: 1 }));
}

/** One stream, whose steps are the shortest, with one step in flight and with two. */
async function measureDepths(backend: GpuBackend, shape: ServingShape) {
  return [await measureServing(backend, shape, 1), await measureServing(backend, shape, 2)];
}

/** Prompts of the context's length, and of as many tokens as a step takes. */
async function measurePrefill(backend: GpuBackend, { contextTokens, maxBatchTokens }: ModelSizes) {
  const results = [];
  for (const tokens of [contextTokens, maxBatchTokens]) {
    const sequence = placeSequence(backend.limits, tokens);
    const prompt = promptTokens(tokens, backend.limits.vocabSize);
    await prefill(backend, sequence, prompt);
    const seconds = Math.min(await prefill(backend, sequence, prompt), await prefill(backend, sequence, prompt));
    results.push({ tokens, tokensPerS: round(tokens / seconds) });
  }
  return results;
}
