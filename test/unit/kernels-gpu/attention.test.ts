/** Paged attention against float64 over random block tables, and decode against prefill, bit for bit. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeAttention } from "../../../kernels-gpu/attention/decode.ts";
import { paddedHead } from "../../../kernels-gpu/attention/kv-layout.ts";
import { mergeAttention } from "../../../kernels-gpu/attention/merge.ts";
import { planDecode, planPrefill, type Run } from "../../../kernels-gpu/attention/plan.ts";
import { prefillAttention, prefillTokens } from "../../../kernels-gpu/attention/prefill.ts";
import { referenceAttention } from "../../../kernels-gpu/attention/reference.ts";
import type { AttentionShape } from "../../../kernels-gpu/attention/tile.ts";
import { fromLaneMajor, paddedWidth } from "../../../kernels-gpu/lanes.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { normalSource, uniformSource } from "../../support/random.ts";
import { expectClose, openTestDevice, runForAll, runKernel } from "./harness.ts";
import { emptyPages, type Pages, putHead } from "./pages.ts";

let device: GpuDevice;
beforeAll(async () => {
  device = await openTestDevice();
});
afterAll(() => device.destroy());

const SHAPE: AttentionShape = { numHeads: 4, numKvHeads: 1, headDim: 64, blockTokens: 16, precision: "f16", window: 0 };

/** The last `numRows` tokens of a sequence of `length`. */
interface Wanted {
  length: number;
  numRows: number;
  /** Blocks of another sequence that this one starts with. */
  shares?: { sequence: number; numBlocks: number };
}

interface Scene {
  shape: AttentionShape;
  pages: Pages;
  tables: number[];
  runs: Run[];
  /** [row][head] in the base that the kernels take it: scaled by log2 e / √headDim. */
  q: Float32Array;
  expected: Float64Array[];
}

/** @param seed of the physical blocks alone: the numbers are the same for every seed */
function scene(shape: AttentionShape, wanted: Wanted[], seed = 1): Scene {
  const { numHeads, numKvHeads, headDim, blockTokens } = shape;
  const blocksOf = (length: number) => Math.ceil(length / blockTokens);
  const numBlocks = wanted.reduce((sum, { length }) => sum + blocksOf(length), 3);
  const uniform = uniformSource(seed);
  const free = Array.from({ length: numBlocks }, (_, i) => i).sort(() => uniform() - 0.5);
  const pages = emptyPages(shape, numBlocks);
  const padded = paddedHead(headDim);
  const scale = 1 / Math.sqrt(headDim);
  const out: Scene = { shape, pages, tables: [], runs: [], q: new Float32Array(0), expected: [] };
  const stored: { key: Float64Array; value: Float64Array }[][][] = [];
  const blockTables: number[][] = [];
  const queries: number[] = [];
  wanted.forEach(({ length, numRows, shares }, sequence) => {
    const normal = normalSource(100 + sequence);
    const row = () => Float32Array.from({ length: headDim }, normal);
    const shared = shares === undefined ? [] : blockTables[shares.sequence]!.slice(0, shares.numBlocks);
    const table = [...shared, ...free.splice(0, blocksOf(length) - shared.length)];
    blockTables.push(table);
    const heads = Array.from({ length: numKvHeads }, (_, head) =>
      Array.from({ length }, (_, position) => {
        const isShared = position < shared.length * blockTokens;
        if (isShared) return stored[shares!.sequence]![head]![position]!;
        const slot = table[Math.floor(position / blockTokens)]! * blockTokens + (position % blockTokens);
        return putHead(pages, shape, slot, head, row(), row());
      }),
    );
    stored.push(heads);
    const firstRow = out.expected.length;
    out.runs.push({ firstRow, numRows, startPosition: length - numRows, tableStart: out.tables.length });
    out.tables.push(...table);
    for (let position = length - numRows; position < length; position++) {
      const result = new Float64Array(numHeads * headDim);
      for (let head = 0; head < numHeads; head++) {
        const q = row();
        queries.push(
          ...Float32Array.from({ length: padded }, (_, i) => (i < headDim ? q[i]! * scale * Math.LOG2E : 0)),
        );
        const kv = heads[Math.floor(head / (numHeads / numKvHeads))]!.slice(0, position + 1);
        const [keys, values] = [kv.map(({ key }) => key), kv.map(({ value }) => value)];
        result.set(referenceAttention(q, keys, values, scale, shape.window), head * headDim);
      }
      out.expected.push(result);
    }
  });
  out.q = Float32Array.from(queries);
  return out;
}

async function decode({ shape, pages, tables, runs, q, expected }: Scene): Promise<Float32Array[]> {
  const { items, spans } = planDecode(runs, shape.window);
  const numItems = items.length / 4;
  const size = numItems * shape.numHeads;
  const { partials, maxima } = await runForAll(
    device,
    decodeAttention(shape),
    {
      items: Uint32Array.from(items),
      tables: Uint32Array.from(tables),
      q,
      ...pages,
      partials: new Float32Array(size * paddedHead(shape.headDim)),
      maxima: new Float32Array(size * 2),
    },
    [numItems, shape.numKvHeads],
    ["partials", "maxima"],
  );
  const width = shape.numHeads * shape.headDim;
  const y = await runKernel(
    device,
    mergeAttention(shape),
    {
      spans: Uint32Array.from(spans),
      partials: new Float32Array(partials),
      maxima: new Float32Array(maxima),
      y: new Float32Array(expected.length * paddedWidth(width)),
    },
    [spans.length / 4, shape.numHeads],
    "y",
  );
  return rowsOf(new Float32Array(y), width);
}

async function prefill({ shape, pages, tables, runs, q, expected }: Scene): Promise<Float32Array[]> {
  const items = planPrefill(runs, prefillTokens(shape));
  const width = shape.numHeads * shape.headDim;
  const inputs = {
    items: Uint32Array.from(items),
    tables: Uint32Array.from(tables),
    q,
    ...pages,
    y: new Float32Array(expected.length * paddedWidth(width)),
  };
  const workgroups = [items.length / 4, shape.numKvHeads] as const;
  return rowsOf(new Float32Array(await runKernel(device, prefillAttention(shape), inputs, workgroups, "y")), width);
}

function rowsOf(y: Float32Array, width: number): Float32Array[] {
  const stride = paddedWidth(width);
  return Array.from({ length: y.length / stride }, (_, i) =>
    fromLaneMajor(y.subarray(i * stride, (i + 1) * stride), width),
  );
}

const TOLERANCE = 2e-6;

async function expectAgreement(s: Scene): Promise<Float32Array[]> {
  const decoded = await decode(s);
  for (const [i, row] of s.expected.entries()) expectClose(decoded[i]!, row, TOLERANCE);
  expect(await prefill(s)).toEqual(decoded);
  return decoded;
}

describe.each([
  { headDim: 64, numHeads: 2, numKvHeads: 2 },
  { headDim: 80, numHeads: 4, numKvHeads: 1 },
  { headDim: 96, numHeads: 8, numKvHeads: 1 },
  { headDim: 128, numHeads: 8, numKvHeads: 2 },
  { headDim: 256, numHeads: 2, numKvHeads: 1 },
])("$numHeads heads of $headDim over $numKvHeads", (heads) => {
  test("agrees with float64 at every kind of border", async () => {
    const shape = { ...SHAPE, ...heads };
    const lengths = [1, 15, 16, 17, 63, 64, 65, 130];
    await expectAgreement(
      scene(
        shape,
        lengths.map((length) => ({ length, numRows: Math.min(length, 3) })),
      ),
    );
  });
});

test("several splits agree with float64, at their borders too", async () => {
  const lengths = [255, 256, 257, 512, 1100];
  await expectAgreement(
    scene(
      SHAPE,
      lengths.map((length) => ({ length, numRows: 2 })),
    ),
  );
});

test("a prompt of several tiles with a past, and one without", async () => {
  await expectAgreement(
    scene(SHAPE, [
      { length: 90, numRows: 90 },
      { length: 57, numRows: 20 },
    ]),
  );
});

test("int8 pages, blocks of 32, heads that are no multiple of 16, three queries a key", async () => {
  const shape: AttentionShape = {
    ...SHAPE,
    numHeads: 6,
    numKvHeads: 2,
    headDim: 12,
    blockTokens: 32,
    precision: "int8",
  };
  await expectAgreement(
    scene(
      shape,
      [1, 33, 100].map((length) => ({ length, numRows: 1 })),
    ),
  );
});

test.each([5, 64, 600])("a window of %i keys", async (window) => {
  const lengths = [4, 70, 1200];
  await expectAgreement(
    scene(
      { ...SHAPE, window },
      lengths.map((length) => ({ length, numRows: Math.min(length, 9) })),
    ),
  );
});

test("shared blocks, other physical blocks and other mates change no bit", async () => {
  const pair: Wanted[] = [
    { length: 70, numRows: 4 },
    { length: 50, numRows: 4, shares: { sequence: 0, numBlocks: 2 } },
  ];
  const together = await expectAgreement(scene(SHAPE, pair));
  expect(await decode(scene(SHAPE, pair, 99))).toEqual(together);
  expect(await decode(scene(SHAPE, pair.slice(0, 1)))).toEqual(together.slice(0, 4));
});
