/** The backend under the engine: continuous batching of many requests, and what the prefix cache saves. */
import type { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import type { Backend } from "../../../src/serving/backend.ts";
import { Engine } from "../../../src/serving/engine.ts";
import { Sequence } from "../../../src/serving/sequence.ts";
import { uniformSource } from "../../../test/support/random.ts";
import { GREEDY } from "../../../test/support/sampling.ts";
import { quantile, round } from "../statistics.ts";

export interface ServingShape {
  requests: number;
  promptTokens: number;
  newTokens: number;
}

/**
 * All requests at once, none like another.
 * @param numStepsInFlight at most as many as the backend takes, which is the default
 */
export async function measureServing(
  backend: GpuBackend,
  shape: ServingShape,
  numStepsInFlight = backend.limits.numStepsInFlight,
) {
  const engine = engineOver(backend, numStepsInFlight);
  const uniform = uniformSource(7);
  const jobs = Array.from({ length: shape.requests }, () => makeJob(backend, shape, uniform));
  const beganMs = performance.now();
  engine.add(jobs.map(({ sequence }) => sequence));
  await drain(engine);
  const seconds = (performance.now() - beganMs) / 1000;
  const firstMs = jobs.map(({ times }) => ended(times).firstMs - beganMs).sort((a, b) => a - b);
  const { numSteps, numStepsAhead } = engine.stats;
  return {
    ...shape,
    numStepsInFlight,
    numSteps,
    numStepsAhead,
    seconds: round(seconds),
    outputTokensPerS: round((shape.requests * shape.newTokens) / seconds),
    totalTokensPerS: round((shape.requests * (shape.promptTokens + shape.newTokens)) / seconds),
    ttftMs: { p50: round(quantile(firstMs, 0.5)), p99: round(quantile(firstMs, 0.99)) },
  };
}

/** The first token of a prompt that nobody sent before, and of the same one once more. */
export async function measurePrefixHit(backend: GpuBackend, promptTokens: number, rounds: number) {
  const engine = engineOver(backend);
  const uniform = uniformSource(11);
  const shape = { requests: 1, promptTokens, newTokens: 1 };
  const cold: number[] = [];
  const hit: number[] = [];
  let cachedTokens = 0;
  for (let round = 0; round <= rounds; round++) {
    const first = makeJob(backend, shape, uniform);
    const again = makeJob(backend, shape, uniform, first.sequence.promptTokens);
    const times: number[] = [];
    for (const { sequence, times: seen } of [first, again]) {
      const beganMs = performance.now();
      engine.add([sequence]);
      await drain(engine);
      times.push(ended(seen).firstMs - beganMs);
    }
    cachedTokens = again.sequence.numCachedTokens ?? 0;
    // The first round warms up.
    if (round === 0) continue;
    cold.push(times[0]!);
    hit.push(times[1]!);
  }
  const median = (values: number[]) =>
    quantile(
      [...values].sort((a, b) => a - b),
      0.5,
    );
  const [coldMs, hitMs] = [median(cold), median(hit)];
  return { promptTokens, cachedTokens, coldMs: round(coldMs), hitMs: round(hitMs), speedup: round(coldMs / hitMs) };
}

/** The engine never asks for a block's content where nothing is archived. */
function engineOver(gpu: GpuBackend, numStepsInFlight = gpu.limits.numStepsInFlight): Engine {
  const backend: Backend = {
    name: gpu.name,
    limits: { ...gpu.limits, numStepsInFlight },
    memory: gpu.memory,
    step: (batch) => gpu.step(batch),
    readBlock: () => {
      throw new Error("Blocks of a GPU are not archived here.");
    },
    writeBlock: (block, bytes) => gpu.writeBlock(block, bytes),
    dispose: () => gpu.dispose(),
  };
  const onCrash = (error: Error) => {
    throw error;
  };
  return new Engine({ backend, limits: { numWaitingMax: 10_000, speculation: "off" }, onCrash });
}

interface Times {
  firstMs: number | null;
  error: unknown;
}

function makeJob(
  { limits }: GpuBackend,
  { promptTokens, newTokens }: ServingShape,
  uniform: () => number,
  tokens: readonly number[] = Array.from({ length: promptTokens }, () => Math.floor(uniform() * limits.vocabSize)),
) {
  const times: Times = { firstMs: null, error: null };
  const sequence = new Sequence({
    requestId: "bench",
    promptTokens: tokens,
    maxTokens: newTokens,
    sampling: GREEDY,
    rngKey: [1, 2],
    numLogprobs: null,
    scorePrompt: false,
    cacheSalt: "",
    listener: {
      admitted() {},
      promptScored() {},
      prefilled() {},
      token() {
        times.firstMs ??= performance.now();
        return false;
      },
      finished() {},
      failed(error) {
        times.error = error;
      },
    },
  });
  return { sequence, times };
}

async function drain(engine: Engine): Promise<void> {
  while (await engine.step());
}

function ended({ firstMs, error }: Times): { firstMs: number } {
  if (firstMs === null) throw new Error("A request ended without a token.", { cause: error });
  return { firstMs };
}
