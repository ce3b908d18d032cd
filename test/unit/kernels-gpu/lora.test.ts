/** LoRA kernels against float64, in batches that mix adapters and none; and the activation that stands alone behind them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { activate, activateWorkgroups } from "../../../kernels-gpu/activation/activate.ts";
import { fromLaneMajor, paddedWidth, toLaneMajor } from "../../../kernels-gpu/lanes.ts";
import { expandWorkgroups, loraExpand } from "../../../kernels-gpu/lora/expand.ts";
import { LORA_TYPES, type LoraType, packColumns, unitWords } from "../../../kernels-gpu/lora/pack.ts";
import { referenceLora } from "../../../kernels-gpu/lora/reference.ts";
import { LORA_TOKENS, type LoraPart, planLora, planSegments } from "../../../kernels-gpu/lora/segments.ts";
import { loraShrink, shrinkWorkgroups } from "../../../kernels-gpu/lora/shrink.ts";
import { geluTanh, silu } from "../../../kernels-gpu/matmul/reference.ts";
import { emptyRows, packInto, weightFormat } from "../../../kernels-gpu/weights/pack.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { dequantize } from "../../../src/model/dequantize.ts";
import { quantize } from "../../support/quantize.ts";
import { normalSource } from "../../support/random.ts";
import { expectClose, openTestDevice, runKernel } from "./harness.ts";

let device: GpuDevice;
beforeAll(async () => {
  device = await openTestDevice();
});
afterAll(() => device.destroy());

interface Pair {
  rank: number;
  scale: number;
  a: Uint8Array;
  b: Uint8Array;
}

interface Site {
  type: LoraType;
  k: number;
  width: number;
  parts: LoraPart[];
  /** Of each adapter and part. */
  adapters: (Pair | null)[][];
}

/** @param ranks of each adapter in each part; 0 = not adapted */
function makeSite(type: LoraType, k: number, width: number, parts: LoraPart[], ranks: number[][]): Site {
  const normal = normalSource(k * 13 + width);
  const matrix = (count: number, deviation: number) =>
    quantize(
      type,
      Float32Array.from({ length: count }, () => normal() * deviation),
    );
  const pair = (rank: number, n: number): Pair => ({
    rank,
    scale: 0.5 + rank / 16,
    a: matrix(rank * k, 1 / Math.sqrt(k)),
    b: matrix(n * rank, 1 / Math.sqrt(rank)),
  });
  const adapters = ranks.map((own) => own.map((rank, i) => (rank === 0 ? null : pair(rank, parts[i]!.n))));
  return { type, k, width, parts, adapters };
}

/** As the backend packs it. */
function packed({ type, k, parts, adapters }: Site) {
  const plan = planSegments(parts, adapters);
  const format = weightFormat(type);
  const a = emptyRows(format, plan.numRows, k);
  const b = new Uint32Array(plan.numUnits * unitWords(type));
  const entries = 1 + parts.length;
  for (const [i, adapter] of adapters.entries()) {
    for (const [j, pair] of adapter.entries()) {
      if (pair === null) continue;
      const at = 4 * (i * entries + 1 + j);
      packInto(a, format, pair.a, k, plan.segments[4 * i * entries]! + plan.segments[at]!);
      packColumns(b, type, pair.b, { n: parts[j]!.n, rank: pair.rank, firstUnit: plan.segments[at + 2]! });
    }
  }
  return { ...plan, quants: a.quants, b };
}

/** @param of the adapter of each row @returns y, row by row, after both kernels */
async function run(site: Site, x: Float32Array[], y: Float32Array[], of: number[]): Promise<Float32Array[]> {
  const { type, k, width, parts } = site;
  const { segments, quants, b, numOwnRows } = packed(site);
  const rankMax = 64;
  const hidden = parts.length * rankMax;
  const plan = planLora(of);
  const numItems = plan.items.length / 4;
  const stride = paddedWidth(k);
  // Rows, items and places of h that nobody may read are NaN or far away.
  const rows = Uint32Array.from([...plan.rows, 0xffff, 0xffff]);
  const items = Uint32Array.from([...plan.items, 0xffff, 0xffff, 0xffff, 0xffff]);
  const xs = new Float32Array((x.length + 1) * stride).fill(Number.NaN);
  for (const [i, row] of x.entries()) if (of[i] !== 0) xs.set(toLaneMajor(row), i * stride);
  const shrink = { type, k, numParts: parts.length, rankMax };
  const h = await runKernel(
    device,
    loraShrink(shrink),
    { items, rows, segments, x: xs, quants, h: new Float32Array((rows.length + 1) * hidden).fill(Number.NaN) },
    shrinkWorkgroups(numOwnRows, numItems),
    "h",
  );
  const expand = { type, parts, width, rankMax };
  const ys = Float32Array.from(y.flatMap((row) => [...row]));
  const inputs = { items, rows, segments, h: new Float32Array(h), b, y: ys };
  const out = new Float32Array(
    await runKernel(device, loraExpand(expand), inputs, expandWorkgroups(expand, numItems), "y"),
  );
  return y.map((_, i) => out.slice(i * width, (i + 1) * width));
}

function expected({ type, width, parts, adapters }: Site, x: Float32Array, y: Float32Array, of: number): Float64Array {
  const row = Float64Array.from(y);
  if (of === 0) return row;
  for (const [i, pair] of adapters[of - 1]!.entries()) {
    if (pair === null) continue;
    const { n, firstColumn, columnStep } = parts[i]!;
    const added = referenceLora(dequantize(type, pair.a), dequantize(type, pair.b), pair.scale, x);
    for (let c = 0; c < n; c++) row[firstColumn + c * columnStep]! += added[c]!;
  }
  expect(row.length).toBe(width);
  return row;
}

function batch(numRows: number, k: number, width: number) {
  const normal = normalSource(numRows + k);
  const rows = (length: number) => Array.from({ length: numRows }, () => Float32Array.from({ length }, () => normal()));
  return { x: rows(k), y: rows(width) };
}

/** Two sums of f32, the second of up to 64 products of the first. */
const TOLERANCE = 1e-5;

const QKV: LoraPart[] = [
  { n: 40, firstColumn: 0, columnStep: 1 },
  { n: 8, firstColumn: 40, columnStep: 1 },
  { n: 8, firstColumn: 48, columnStep: 1 },
];
/** Rows of no, of one, of several items; adapters side by side and apart. */
const MIXED = [0, 1, 1, 2, 0, 3, 2, 1, 1, 1, 4, 0, 1, 1, 3, 5];

describe.each(LORA_TYPES)("%s", (type) => {
  // 18 chunks: a whole superchunk and a narrow one. The fifth adapter adapts nothing here.
  const site = makeSite(type, 576, 56, QKV, [
    [1, 1, 1],
    [8, 0, 8],
    [16, 16, 16],
    [64, 0, 0],
    [0, 0, 0],
  ]);
  const { x, y } = batch(MIXED.length, site.k, site.width);

  test("rows with different adapters and with none agree with float64", async () => {
    const rows = await run(site, x, y, MIXED);
    for (const [i, row] of rows.entries()) {
      if (MIXED[i] === 0 || MIXED[i] === 5) expect(row).toEqual(y[i]);
      else expectClose(row, expected(site, x[i]!, y[i]!, MIXED[i]!), TOLERANCE);
    }
  });

  test("a row has the same bits alone, and in any other company", async () => {
    const together = await run(site, x, y, MIXED);
    for (const i of [1, 3, 5, 9, 10]) {
      const alone = await run(site, [x[i]!], [y[i]!], [MIXED[i]!]);
      expect(alone[0]).toEqual(together[i]);
    }
    const order = MIXED.map((_, i) => (i * 5) % MIXED.length);
    const pick = <T>(list: T[]) => order.map((i) => list[i]!);
    expect(await run(site, pick(x), pick(y), pick(MIXED))).toEqual(pick(together));
  });
});

test("interleaved projections, and sizes that are no multiple of anything", async () => {
  const parts = [
    { n: 33, firstColumn: 0, columnStep: 2 },
    { n: 33, firstColumn: 1, columnStep: 2 },
  ];
  const site = makeSite("F16", 72, 66, parts, [
    [3, 5],
    [0, 1],
  ]);
  const of = [2, 1, 1, 1, 1, 1, 2];
  const { x, y } = batch(of.length, site.k, site.width);
  const rows = await run(site, x, y, of);
  for (const [i, row] of rows.entries()) expectClose(row, expected(site, x[i]!, y[i]!, of[i]!), TOLERANCE);
});

test("a step's rows are sorted by adapter and cut into items", () => {
  expect(planLora([0, 0])).toEqual({ rows: [], items: [] });
  const { rows, items } = planLora([2, 1, 2, 0, 2, 2, 2]);
  expect(rows).toEqual([0, 2, 4, 5, 6, 1]);
  expect(items).toEqual([1, 0, LORA_TOKENS, 0, 1, LORA_TOKENS, 1, 0, 0, 5, 1, 0]);
});

test.each(["silu", "gelu-tanh", "gelu-tanh-single"] as const)("%s of stored sums", async (epilogue) => {
  const shape = { n: 76, epilogue };
  const isPair = epilogue !== "gelu-tanh-single";
  const width = isPair ? shape.n / 2 : shape.n;
  const sums = Float32Array.from({ length: 3 * shape.n }, normalSource(7));
  const y = new Float32Array(3 * paddedWidth(width));
  const out = new Float32Array(
    await runKernel(device, activate(shape), { x: sums, y }, activateWorkgroups(shape, 3), "y"),
  );
  const act = epilogue === "silu" ? silu : geluTanh;
  for (let token = 0; token < 3; token++) {
    const row = sums.subarray(token * shape.n, (token + 1) * shape.n);
    const wanted = Float64Array.from({ length: width }, (_, i) =>
      isPair ? act(row[2 * i]!) * row[2 * i + 1]! : act(row[i]!),
    );
    expectClose(fromLaneMajor(out.subarray(token * paddedWidth(width)), width), wanted, 3e-6);
  }
});
