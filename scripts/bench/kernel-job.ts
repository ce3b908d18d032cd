/** The measuring process of the kernels. Started by `kernels.ts`; prints a KernelReport. */
import { chooseKernelSet } from "../../src/backends/cpu/kernel-set.ts";
import { READABLE_TYPE_NAMES } from "../../src/model/ggml-types.ts";
import { GGML_BLOCK, type GgmlTypeName } from "../../src/model/gguf.ts";
import { kernelModules } from "../../test/support/kernel-modules.ts";
import { type CeilingExports, DOTS_PER_ROUND, instantiateCeilings } from "./ceiling-module.ts";
import { KernelMatrix } from "./kernel-matrix.ts";
import { CEILINGS, type KernelJob, type KernelReport, TOKEN_COUNTS, type TypeReport } from "./kernel-report.ts";
import { canBeRandom } from "./random-blocks.ts";

/** Width of SmolLM2-135M's ffn_down, whole blocks of every type. */
const COLS = 1536;
/** The width of the model; wide types get fewer, so that … */
const ROWS_MAX = 576;
/** … weights and activations together stay in an L2 cache of 1 MB. */
const CACHED_BYTES_MAX = 512 * 1024;
/** Far more than an L3 cache share gives back. */
const STREAMED_BYTES = 88e6;

console.log(JSON.stringify(measureKernels(JSON.parse(process.argv[2]!) as KernelJob)));

function measureKernels({ kernelSets, types, repeats, sampleMs }: KernelJob): KernelReport {
  const modules = kernelModules(kernelSets);
  const { set: kernelSet, module } = chooseKernelSet(modules);
  const sampler = { repeats, sampleMs };
  const ceilings = instantiateCeilings(STREAMED_BYTES);
  const report: KernelReport = { kernelSet, ceilings: {}, types: {} };
  for (const type of READABLE_TYPE_NAMES.filter(canBeRandom)) {
    if (types.length > 0 && !types.includes(type)) continue;
    process.stderr.write(`${type} `);
    // Before each type, so that a machine that slows down lowers both.
    for (const [name, samples] of Object.entries(measureCeilings(ceilings, { repeats: 1, sampleMs }))) {
      report.ceilings[name] = [...(report.ceilings[name] ?? []), ...samples];
    }
    report.types[type] = measureType(module, type, sampler);
  }
  process.stderr.write("\n");
  return report;
}

interface Sampler {
  repeats: number;
  sampleMs: number;
}

function measureCeilings(exports: CeilingExports, sampler: Sampler): Record<string, number[]> {
  const bytes = Math.floor(STREAMED_BYTES / 512) * 512;
  const rounds = 100_000;
  const relaxedMacs = rounds * DOTS_PER_ROUND * 16;
  return {
    [CEILINGS.read1]: rates(() => exports.read_1_stream(65_536, bytes), bytes / 1e9, sampler),
    [CEILINGS.read4]: rates(() => exports.read_4_streams(65_536, bytes), bytes / 1e9, sampler),
    [CEILINGS.dotI32]: rates(() => exports.dot_i32(rounds), relaxedMacs / 1e9, sampler),
    [CEILINGS.dotI16]: rates(() => exports.dot_i16(rounds), relaxedMacs / 1e9, sampler),
    [CEILINGS.dotExact]: rates(() => exports.dot_exact(rounds), relaxedMacs / 2e9, sampler),
  };
}

function measureType(module: WebAssembly.Module, type: GgmlTypeName, sampler: Sampler): TypeReport {
  const rowBytes = (COLS / GGML_BLOCK[type].elements) * GGML_BLOCK[type].bytes;
  const wholeTiles = (rows: number) => Math.floor(rows / 16) * 16;
  const cachedRows = Math.min(ROWS_MAX, wholeTiles(CACHED_BYTES_MAX / rowBytes));
  const maxTokens = Math.max(...TOKEN_COUNTS);
  const cached = new KernelMatrix(module, type, cachedRows, COLS, maxTokens);
  const streamed = new KernelMatrix(module, type, wholeTiles(STREAMED_BYTES / rowBytes), COLS, maxTokens);
  const measure = (matrix: KernelMatrix) =>
    Object.fromEntries(
      TOKEN_COUNTS.map((numTokens) => {
        const gmacs = (matrix.rows * COLS * numTokens) / 1e9;
        return [numTokens, rates(() => matrix.multiply(numTokens), gmacs, sampler)];
      }),
    );
  const streamedRates = measure(streamed);
  const gbPerGmac = streamed.packedBytes / (streamed.rows * COLS);
  return {
    bitsPerWeight: 8 * gbPerGmac,
    cached: measure(cached),
    streamed: streamedRates,
    streamedReadGbPerS: streamedRates[1]!.map((gmacs) => gmacs * gbPerGmac),
  };
}

/** `work` a second, `repeats` times; the first sample only gets the code compiled. */
function rates(call: () => void, work: number, { repeats, sampleMs }: Sampler): number[] {
  const samples = Array.from({ length: repeats + 1 }, () => {
    let numCalls = 0;
    const startMs = performance.now();
    let elapsedMs = 0;
    while (elapsedMs < sampleMs) {
      // The clock is read once for several short calls.
      for (let i = 0; i < 4; i++) call();
      numCalls += 4;
      elapsedMs = performance.now() - startMs;
    }
    return (1000 * work * numCalls) / elapsedMs;
  });
  return samples.slice(1);
}
