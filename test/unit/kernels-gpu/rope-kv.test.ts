/** Head norms, rotation and the writing of pages, against float64. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { paddedHead } from "../../../kernels-gpu/attention/kv-layout.ts";
import { referenceRope } from "../../../kernels-gpu/attention/reference.ts";
import { type RopeKvShape, ropeKv, ropeTable } from "../../../kernels-gpu/attention/rope-kv.ts";
import { referenceRmsNorm } from "../../../kernels-gpu/norm/reference.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { normalSource } from "../../support/random.ts";
import { expectClose, openTestDevice, runForAll } from "./harness.ts";
import { emptyPages, putHead } from "./pages.ts";

let device: GpuDevice;
beforeAll(async () => {
  device = await openTestDevice();
});
afterAll(() => device.destroy());

const SHAPE: RopeKvShape = {
  numHeads: 4,
  numKvHeads: 2,
  headDim: 64,
  blockTokens: 16,
  precision: "f16",
  rope: { numDims: 64, pairing: "half-split" },
  hasHeadNorms: false,
  normEpsilon: 1e-6,
  attentionScale: 0.125,
  subgroups: false,
};

const CASES: Record<string, Partial<RopeKvShape>> = {
  "half-split": {},
  interleaved: { rope: { numDims: 64, pairing: "interleaved" }, numHeads: 2 },
  "norms of heads, int8, subgroups": { hasHeadNorms: true, precision: "int8", subgroups: true },
  "norms of heads without subgroups": { hasHeadNorms: true, precision: "int8" },
  "a partial rotation of small heads": { headDim: 12, rope: { numDims: 8, pairing: "half-split" } },
  "no rotation": { rope: null },
};

test.each(Object.entries(CASES))("%s", async (_, options) => {
  const shape = { ...SHAPE, ...options };
  const { numHeads, numKvHeads, headDim, blockTokens, rope } = shape;
  const normal = normalSource(3);
  const numbers = (count: number) => Float32Array.from({ length: count }, normal);
  const numRows = numHeads + 2 * numKvHeads;
  // The last position is one where f32 angles would be off by 1e-3.
  const places = [
    [0, 5],
    [17, 2 * blockTokens],
    [30_000, 3 * blockTokens - 1],
  ] as const;
  const qkv = numbers(places.length * numRows * headDim);
  const [qNorm, kNorm] = [numbers(headDim), numbers(headDim)];
  const angles = { base: 10_000, numDims: rope?.numDims ?? 2, linearScale: 2, magnitude: 1.1 };
  const pages = emptyPages(shape, 4);
  const padded = paddedHead(headDim);
  const out = await runForAll(
    device,
    ropeKv(shape),
    {
      qkv,
      qNorm,
      kNorm,
      table: ropeTable(angles, null, 30_001),
      places: Uint32Array.from(places.flat()),
      q: new Float32Array(places.length * numHeads * padded),
      ...pages,
    },
    [numRows, places.length],
    ["q", "keys", "values", "scales"],
  );

  const wanted = emptyPages(shape, 4);
  const q = new Float32Array(out.q);
  places.forEach(([position, slot], token) => {
    const head = (i: number) => qkv.subarray((token * numRows + i) * headDim, (token * numRows + i + 1) * headDim);
    const turned = (i: number, weight: Float32Array) => {
      const normed = shape.hasHeadNorms ? referenceRmsNorm(head(i), weight, shape.normEpsilon) : head(i);
      return rope === null ? normed : referenceRope(normed, position, { ...angles, ...rope });
    };
    for (let i = 0; i < numHeads; i++) {
      const expected = Array.from(turned(i, qNorm), (x) => x * shape.attentionScale * Math.LOG2E);
      const at = (token * numHeads + i) * padded;
      expectClose(q.subarray(at, at + headDim), expected, 2e-6);
    }
    for (let i = 0; i < numKvHeads; i++) {
      putHead(wanted, shape, slot, i, turned(numHeads + i, kNorm), head(numHeads + numKvHeads + i));
    }
  });
  const decoded = (words: ArrayBuffer) => (shape.precision === "f16" ? new Uint16Array(words) : new Int8Array(words));
  for (const [name, buffer] of [
    ["keys", wanted.keys],
    ["values", wanted.values],
  ] as const) {
    const [actual, expected] = [decoded(out[name]), decoded(buffer.buffer as ArrayBuffer)];
    // A rounding may fall either way; nothing else may differ, and nothing else was written.
    const wrong = Array.from(actual.keys()).filter((i) => Math.abs(actual[i]! - expected[i]!) > 1);
    expect(wrong, name).toEqual([]);
  }
  if (shape.precision === "int8") {
    const scales = new Float32Array(out.scales);
    expect(Array.from(scales, Number.isNaN)).toEqual(Array.from(wanted.scales, Number.isNaN));
    const written = Array.from(scales.keys()).filter((i) => !Number.isNaN(scales[i]!));
    expectClose(
      written.map((i) => scales[i]!),
      written.map((i) => wanted.scales[i]!),
      1e-6,
    );
  }
});
