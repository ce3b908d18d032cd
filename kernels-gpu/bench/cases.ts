/** The benchmark's entry of every kernel, at the sizes of one layer. Each is made when its turn comes: memory is finite. */
import type { GpuDevice } from "../../src/backends/gpu/device.ts";
import { activate, activateWorkgroups } from "../activation/activate.ts";
import { decodeAttention } from "../attention/decode.ts";
import {
  type KvPrecision,
  kvBlockBytes,
  layerBlockBytes,
  paddedHead,
  scaleBlockBytes,
} from "../attention/kv-layout.ts";
import { mergeAttention } from "../attention/merge.ts";
import { planDecode, planPrefill, type Run } from "../attention/plan.ts";
import { prefillAttention, prefillTokens } from "../attention/prefill.ts";
import { ropeKv } from "../attention/rope-kv.ts";
import type { AttentionShape } from "../attention/tile.ts";
import { copyBlocks, copyWorkgroups } from "../copy/copy-blocks.ts";
import { embedding, embeddingWorkgroups } from "../embedding/embedding.ts";
import { numChunks, paddedWidth } from "../lanes.ts";
import { expandWorkgroups, loraExpand } from "../lora/expand.ts";
import { columnUnits, planLora, planSegments } from "../lora/segments.ts";
import { loraShrink, shrinkWorkgroups } from "../lora/shrink.ts";
import { gemm, gemmWorkgroups } from "../matmul/gemm.ts";
import { gemmMatrix, gemmMatrixWorkgroups } from "../matmul/gemm-matrix.ts";
import { gemv, gemvWorkgroups } from "../matmul/gemv.ts";
import type { MatmulBinding, MatmulShape } from "../matmul/matmul.ts";
import { norm, normWorkgroups } from "../norm/norm.ts";
import { adjust, candidates, candidateWorkgroups } from "../sampling/adjust.ts";
import { LOGPROB_WORDS, logprobs } from "../sampling/logprobs.ts";
import { FIELD, FLAG, floatBits, NO_TOKEN, OUTPUT_WORDS } from "../sampling/outputs.ts";
import { sample } from "../sampling/sample.ts";
import { type GpuWeightType, quantWords } from "../weights/format.ts";
import { GPU_WEIGHT_TYPES, weightFormat } from "../weights/pack.ts";
import { type BenchCase, type BenchSizes, benchCase } from "./case.ts";

export type CaseMaker = () => Promise<BenchCase>;

export function benchCases(device: GpuDevice, sizes: BenchSizes): CaseMaker[] {
  const makers = [
    ...GPU_WEIGHT_TYPES.flatMap((type) => [1, 8].map((tokens) => () => gemvCase(device, sizes, type, tokens))),
    ...(["F16", "Q4_K"] as const).map((type) => () => gemmCase(device, sizes, type)),
    ...(["f16", "int8"] as const).flatMap((precision) => [
      () => decodeCase(device, sizes, precision),
      () => prefillCase(device, sizes, precision),
      () => ropeCase(device, sizes, precision),
    ]),
    () => shrinkCase(device, sizes),
    () => expandCase(device, sizes),
    () => activateCase(device, sizes),
    () => mergeCase(device, sizes),
    () => normCase(device, sizes),
    () => embeddingCase(device, sizes),
    () => candidatesCase(device, sizes),
    () => adjustCase(device, sizes),
    () => sampleCase(device, sizes),
    () => logprobsCase(device, sizes),
    () => copyBlocksCase(device, sizes),
  ];
  if (device.hasSubgroupMatrix) makers.push(() => matrixCase(device, sizes));
  return makers;
}

/** Gate and up of one layer, the largest product: more than any cache holds. */
function matmulContents(sizes: BenchSizes, weightType: GpuWeightType, tokens: number) {
  const shape: MatmulShape = { weightType, n: 2 * sizes.ffnDim, k: sizes.dModel, epilogue: "silu", hasBias: false };
  const format = weightFormat(weightType);
  const chunks = numChunks(shape.k);
  const weights = shape.n * (quantWords(format, chunks) + format.extraWords(chunks)) * 4;
  const contents: Record<MatmulBinding, number | Uint32Array> = {
    counts: Uint32Array.of(tokens),
    x: tokens * paddedWidth(shape.k) * 4,
    quants: shape.n * quantWords(format, chunks) * 4,
    extras: shape.n * format.extraWords(chunks) * 4,
    bias: 16,
    y: tokens * paddedWidth(shape.n / 2) * 4,
  };
  const bytes = weights + tokens * 4 * (shape.k + shape.n / 2);
  return { shape, contents, work: { bytes, flops: 2 * shape.n * shape.k * tokens } };
}

function gemvCase(device: GpuDevice, sizes: BenchSizes, type: GpuWeightType, tokens: number): Promise<BenchCase> {
  const { shape, contents, work } = matmulContents(sizes, type, tokens);
  return benchCase(device, gemv(shape, tokens), contents, gemvWorkgroups(shape, tokens, tokens), work);
}

function gemmCase(device: GpuDevice, sizes: BenchSizes, type: GpuWeightType): Promise<BenchCase> {
  const { shape, contents, work } = matmulContents(sizes, type, sizes.promptTokens);
  return benchCase(device, gemm(shape, 128), contents, gemmWorkgroups(shape, 128, sizes.promptTokens), work);
}

function matrixCase(device: GpuDevice, sizes: BenchSizes): Promise<BenchCase> {
  const { shape, contents, work } = matmulContents(sizes, "F16", sizes.promptTokens);
  const kernel = gemmMatrix(shape, device.subgroupSize ?? 32);
  return benchCase(device, kernel, contents, gemmMatrixWorkgroups(shape, sizes.promptTokens), work);
}

/** Gate and up again, each sequence with an adapter of its own. */
function adapters({ dModel, ffnDim, sequences }: BenchSizes) {
  const rank = 16;
  const parts = [0, 1].map((firstColumn) => ({ n: ffnDim, firstColumn, columnStep: 2 }));
  const segment = { rank, scale: 1 };
  const { segments, numOwnRows, numRows } = planSegments(
    parts,
    Array.from({ length: sequences }, () => parts.map(() => segment)),
  );
  const { rows, items } = planLora(Array.from({ length: sequences }, (_, i) => i + 1));
  const lists = { items: Uint32Array.from(items), rows: Uint32Array.from(rows), segments };
  const h = sequences * numOwnRows * 4;
  const aBytes = numRows * paddedWidth(dModel) * 2;
  const bBytes = numRows * columnUnits(ffnDim) * 8;
  return { parts, rankMax: rank, numOwnRows, lists, h, numItems: items.length / 4, aBytes, bBytes };
}

function shrinkCase(device: GpuDevice, sizes: BenchSizes): Promise<BenchCase> {
  const { parts, rankMax, numOwnRows, lists, h, numItems, aBytes } = adapters(sizes);
  const shape = { type: "F16", k: sizes.dModel, numParts: parts.length, rankMax } as const;
  const contents = { ...lists, x: sizes.sequences * paddedWidth(shape.k) * 4, quants: aBytes, h };
  const work = { bytes: aBytes + contents.x, flops: 2 * numOwnRows * shape.k * sizes.sequences };
  return benchCase(device, loraShrink(shape), contents, shrinkWorkgroups(numOwnRows, numItems), work);
}

function expandCase(device: GpuDevice, sizes: BenchSizes): Promise<BenchCase> {
  const { parts, rankMax, lists, h, numItems, bBytes } = adapters(sizes);
  const shape = { type: "F16", parts, width: 2 * sizes.ffnDim, rankMax } as const;
  const contents = { ...lists, h, b: bBytes, y: sizes.sequences * shape.width * 4 };
  const work = { bytes: bBytes + 2 * contents.y, flops: 2 * rankMax * shape.width * sizes.sequences };
  return benchCase(device, loraExpand(shape), contents, expandWorkgroups(shape, numItems), work);
}

function activateCase(device: GpuDevice, { ffnDim, promptTokens }: BenchSizes): Promise<BenchCase> {
  const shape = { n: 2 * ffnDim, epilogue: "silu" } as const;
  const contents = { x: promptTokens * shape.n * 4, y: promptTokens * paddedWidth(ffnDim) * 4 };
  const work = { bytes: contents.x + contents.y };
  return benchCase(device, activate(shape), contents, activateWorkgroups(shape, promptTokens), work);
}

function attention(sizes: BenchSizes, precision: KvPrecision) {
  const { numHeads, numKvHeads, headDim, contextTokens, sequences } = sizes;
  const shape: AttentionShape = { numHeads, numKvHeads, headDim, precision, blockTokens: 16, window: 0 };
  const blocksEach = contextTokens / shape.blockTokens;
  const numBlocks = blocksEach * sequences;
  const pages = {
    keys: numBlocks * kvBlockBytes(shape),
    values: numBlocks * kvBlockBytes(shape),
    scales: numBlocks * scaleBlockBytes(shape),
  };
  // Every block somewhere else: an odd factor permutes a power of two.
  const tables = Uint32Array.from({ length: numBlocks }, (_, i) => Math.imul(i, 40_503) & (numBlocks - 1));
  const pageBytes = (tokens: number) => (tokens / shape.blockTokens) * layerBlockBytes(shape);
  return { shape, pages, tables, blocksEach, pageBytes };
}

function decodeCase(device: GpuDevice, sizes: BenchSizes, precision: KvPrecision): Promise<BenchCase> {
  const { shape, pages, tables, blocksEach, pageBytes } = attention(sizes, precision);
  const { contextTokens, sequences } = sizes;
  const runs = Array.from({ length: sequences }, (_, i): Run => {
    return { firstRow: i, numRows: 1, startPosition: contextTokens - 1, tableStart: i * blocksEach };
  });
  const items = Uint32Array.from(planDecode(runs, 0).items);
  const numItems = items.length / 4;
  const head = paddedHead(shape.headDim) * 4;
  const contents = {
    items,
    tables,
    q: sequences * shape.numHeads * head,
    ...pages,
    partials: numItems * shape.numHeads * head,
    maxima: numItems * shape.numHeads * 8,
  };
  const flops = 4 * shape.numHeads * shape.headDim * contextTokens * sequences;
  const work = { bytes: pageBytes(contextTokens * sequences), flops };
  return benchCase(device, decodeAttention(shape), contents, [numItems, shape.numKvHeads], work);
}

function prefillCase(device: GpuDevice, sizes: BenchSizes, precision: KvPrecision): Promise<BenchCase> {
  const { shape, pages, tables, pageBytes } = attention(sizes, precision);
  const tokens = Math.min(sizes.promptTokens, sizes.contextTokens);
  const run: Run = { firstRow: 0, numRows: tokens, startPosition: 0, tableStart: 0 };
  const items = Uint32Array.from(planPrefill([run], prefillTokens(shape)));
  const q = tokens * shape.numHeads * paddedHead(shape.headDim) * 4;
  const contents = { items, tables, q, ...pages, y: tokens * paddedWidth(shape.numHeads * shape.headDim) * 4 };
  // A token sees half of the prompt on average.
  const work = { bytes: pageBytes(tokens) + 2 * q, flops: 2 * shape.numHeads * shape.headDim * tokens * tokens };
  return benchCase(device, prefillAttention(shape), contents, [items.length / 4, shape.numKvHeads], work);
}

function mergeCase(device: GpuDevice, sizes: BenchSizes): Promise<BenchCase> {
  const { shape } = attention(sizes, "f16");
  const { contextTokens, sequences, numHeads } = sizes;
  const runs = Array.from({ length: sequences }, (_, i): Run => {
    return { firstRow: i, numRows: 1, startPosition: contextTokens - 1, tableStart: 0 };
  });
  const { items, spans } = planDecode(runs, 0);
  const partials = (items.length / 4) * numHeads * paddedHead(shape.headDim) * 4;
  const contents = {
    spans: Uint32Array.from(spans),
    partials,
    maxima: (items.length / 4) * numHeads * 8,
    y: sequences * paddedWidth(numHeads * shape.headDim) * 4,
  };
  return benchCase(device, mergeAttention(shape), contents, [sequences, numHeads], { bytes: partials });
}

function ropeCase(device: GpuDevice, sizes: BenchSizes, precision: KvPrecision): Promise<BenchCase> {
  const { shape, pages } = attention(sizes, precision);
  const { numHeads, numKvHeads, headDim } = shape;
  const tokens = Math.min(sizes.promptTokens, sizes.contextTokens);
  const numRows = numHeads + 2 * numKvHeads;
  const rope = { numDims: headDim, pairing: "half-split" } as const;
  const kernel = ropeKv({
    ...shape,
    rope,
    hasHeadNorms: false,
    normEpsilon: 1e-5,
    attentionScale: 1,
    subgroups: device.hasSubgroups,
  });
  const qkv = tokens * numRows * headDim * 4;
  const contents = {
    qkv,
    qNorm: headDim * 4,
    kNorm: headDim * 4,
    table: tokens * headDim * 4,
    places: Uint32Array.from({ length: 2 * tokens }, (_, i) => i >> 1),
    q: tokens * numHeads * paddedHead(headDim) * 4,
    ...pages,
  };
  return benchCase(device, kernel, contents, [numRows, tokens], { bytes: 2 * qkv });
}

function normCase(device: GpuDevice, { dModel, promptTokens }: BenchSizes): Promise<BenchCase> {
  const shape = { width: dModel, epsilon: 1e-5, kind: "rms", output: "lanes", gathers: false } as const;
  const x = promptTokens * dModel * 4;
  const contents = {
    counts: 16,
    rows: 16,
    x,
    weight: dModel * 4,
    bias: dModel * 4,
    y: promptTokens * paddedWidth(dModel) * 4,
  };
  const kernel = norm({ ...shape, subgroups: device.hasSubgroups });
  return benchCase(device, kernel, contents, normWorkgroups(promptTokens), { bytes: 2 * x });
}

function embeddingCase(device: GpuDevice, { dModel, vocabSize, promptTokens }: BenchSizes): Promise<BenchCase> {
  const shape = { weightType: "F16", width: dModel, scale: 1, hasPositions: false } as const;
  const contents = {
    tokens: Uint32Array.from({ length: promptTokens }, (_, i) => (i * 97) % vocabSize),
    slots: 16,
    places: promptTokens * 8,
    quants: vocabSize * dModel * 2,
    extras: 16,
    positionTable: 16,
    y: promptTokens * dModel * 4,
  };
  const work = { bytes: promptTokens * dModel * 6 };
  return benchCase(device, embedding(shape), contents, embeddingWorkgroups(shape, promptTokens), work);
}

/** Every filter at once. */
function samplingOutputs(count: number): Uint32Array {
  const outputs = new Uint32Array(count * OUTPUT_WORDS);
  for (let i = 0; i < count; i++) {
    const set = (field: keyof typeof FIELD, value: number) => {
      outputs[i * OUTPUT_WORDS + FIELD[field]] = value;
    };
    set("flags", FLAG.samples | FLAG.hasTopP | FLAG.wantsLogprobs);
    set("logitRow", i);
    set("inverseTemperature", floatBits(1));
    set("topK", 50);
    set("topP", 0.9 * 2 ** 32);
    set("minWeight", 1);
    set("slot", NO_TOKEN);
    set("scoreToken", NO_TOKEN);
    set("numTop", 5);
  }
  return outputs;
}

function candidatesCase(device: GpuDevice, { vocabSize, sequences }: BenchSizes): Promise<BenchCase> {
  const row = sequences * vocabSize * 4;
  const contents = { outputs: samplingOutputs(sequences), logits: row, masks: 16, candidates: row };
  const workgroups = candidateWorkgroups(vocabSize, sequences);
  return benchCase(device, candidates(vocabSize), contents, workgroups, { bytes: 2 * row });
}

function adjustCase(device: GpuDevice, { vocabSize, sequences }: BenchSizes): Promise<BenchCase> {
  const each = Math.min(1024, vocabSize);
  const entries = Array.from({ length: each * sequences }, (_, i) => [Math.floor(i / each), i % each, 1, 0]);
  const contents = {
    counts: Uint32Array.of(entries.length),
    outputs: samplingOutputs(sequences),
    adjustments: Uint32Array.from(entries.flat()),
    candidates: sequences * vocabSize * 4,
  };
  const workgroups = [Math.ceil(entries.length / 64)] as const;
  return benchCase(device, adjust(vocabSize), contents, workgroups, { bytes: entries.length * 24 });
}

function sampleCase(device: GpuDevice, { vocabSize, sequences }: BenchSizes): Promise<BenchCase> {
  const row = sequences * vocabSize * 4;
  const contents = { outputs: samplingOutputs(sequences), candidates: row, tokens: sequences * 4, slots: 16 };
  const kernel = sample({ vocabSize, subgroups: device.hasSubgroups });
  return benchCase(device, kernel, contents, [sequences], { bytes: 2 * row });
}

function logprobsCase(device: GpuDevice, { vocabSize, sequences }: BenchSizes): Promise<BenchCase> {
  const row = sequences * vocabSize * 4;
  const words = sequences * LOGPROB_WORDS * 4;
  const contents = { outputs: samplingOutputs(sequences), logits: row, tokens: sequences * 4, logprobs: words };
  const kernel = logprobs({ vocabSize, subgroups: device.hasSubgroups });
  return benchCase(device, kernel, contents, [sequences], { bytes: row });
}

function copyBlocksCase(device: GpuDevice, sizes: BenchSizes): Promise<BenchCase> {
  const { shape, pages } = attention(sizes, "f16");
  const blockBytes = kvBlockBytes(shape);
  const numPairs = Math.floor(pages.keys / blockBytes / 2);
  const pairs = Uint32Array.from({ length: 2 * numPairs }, (_, i) => (i % 2) * numPairs + (i >> 1));
  const contents = { pairs, pages: pages.keys };
  const work = { bytes: 2 * numPairs * blockBytes };
  return benchCase(device, copyBlocks(blockBytes), contents, copyWorkgroups(blockBytes, numPairs), work);
}
