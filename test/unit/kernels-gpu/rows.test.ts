/** Kernels that work on whole rows: norms, embeddings, block copies. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyBlocks, copyWorkgroups, planCopies } from "../../../kernels-gpu/copy/copy-blocks.ts";
import { embedding, embeddingWorkgroups, FROM_SLOT } from "../../../kernels-gpu/embedding/embedding.ts";
import { fromLaneMajor, paddedWidth } from "../../../kernels-gpu/lanes.ts";
import { type NormShape, norm, normWorkgroups } from "../../../kernels-gpu/norm/norm.ts";
import { referenceLayerNorm, referenceRmsNorm } from "../../../kernels-gpu/norm/reference.ts";
import { packRows, weightFormat } from "../../../kernels-gpu/weights/pack.ts";
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

const numbers = (seed: number, count: number) => Float32Array.from({ length: count }, normalSource(seed));

describe.each([false, true])("norms, subgroups %s", (subgroups) => {
  const cases: Partial<NormShape>[] = [
    {},
    { width: 900 },
    { kind: "layer", width: 900 },
    { output: "add" },
    { gathers: true },
  ];
  test.each(cases)("%o", async (options) => {
    const shape: NormShape = {
      width: 64,
      epsilon: 1e-5,
      kind: "rms",
      output: "lanes",
      gathers: false,
      subgroups,
      ...options,
    };
    const { width } = shape;
    const rows = [2, 0, 2];
    const x = numbers(1, 3 * width);
    const [weight, bias, before] = [numbers(2, width), numbers(3, width), numbers(4, 3 * width)];
    const stride = shape.output === "lanes" ? paddedWidth(width) : width;
    const y = shape.output === "add" ? before : new Float32Array(3 * stride);
    const inputs = { counts: Uint32Array.of(3), rows: Uint32Array.from(rows), x, weight, bias, y };
    const out = new Float32Array(await runKernel(device, norm(shape), inputs, normWorkgroups(3), "y"));
    for (let i = 0; i < 3; i++) {
      const source = shape.gathers ? rows[i]! : i;
      const row = x.subarray(source * width, (source + 1) * width);
      const normed =
        shape.kind === "rms"
          ? referenceRmsNorm(row, weight, shape.epsilon)
          : referenceLayerNorm(row, weight, bias, shape.epsilon);
      const stored = out.subarray(i * stride, (i + 1) * stride);
      if (shape.output === "lanes") expectClose(fromLaneMajor(stored, width), normed, 2e-6);
      else
        expectClose(
          stored,
          normed.map((value, k) => value + before[i * width + k]!),
          2e-6,
        );
    }
  });
});

describe("embedding", () => {
  test.each(["F16", "Q8_0", "Q6_K"] as const)("%s rows, of ids and of slots", async (type) => {
    const width = 768;
    const file = quantize(type, numbers(5, 10 * width));
    const table = dequantize(type, file);
    const shape = { weightType: type, width, scale: 2.5, hasPositions: type === "F16" };
    const positionTable = numbers(6, 9 * width);
    const { quants, extras } = packRows(weightFormat(type), file, width);
    const inputs = {
      tokens: Uint32Array.of(3, FROM_SLOT + 1, 9),
      slots: Uint32Array.of(0, 7),
      places: Uint32Array.of(0, 0, 8, 0, 2, 0),
      quants,
      extras: extras.length === 0 ? new Uint32Array(4) : extras,
      positionTable,
      y: new Float32Array(3 * width),
    };
    const out = await runKernel(device, embedding(shape), inputs, embeddingWorkgroups(shape, 3), "y");
    const rows = [3, 7, 9].map((id) => table.subarray(id * width, (id + 1) * width));
    const positions = [0, 8, 2].map((p) => positionTable.subarray(p * width, (p + 1) * width));
    const expected = rows.flatMap((row, i) =>
      Array.from(row, (value, k) => value * 2.5 + (shape.hasPositions ? positions[i]![k]! : 0)),
    );
    expectClose(new Float32Array(out), expected, 1e-6);
  });
});

describe("block copies", () => {
  test("copies whole blocks", async () => {
    const pages = Uint32Array.from({ length: 4 * 36 }, (_, i) => i);
    const inputs = { pairs: Uint32Array.of(3, 0, 3, 1), pages: pages.slice() };
    const out = new Uint32Array(await runKernel(device, copyBlocks(144), inputs, copyWorkgroups(144, 2), "pages"));
    const third = pages.subarray(3 * 36);
    expect(out).toEqual(Uint32Array.from([...third, ...third, ...pages.subarray(2 * 36)]));
  });

  test("rounds give what one copy after another gives, and read nothing that they write", () => {
    const copy = fc.record({ from: fc.nat(5), to: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(copy, { maxLength: 12 }), (copies) => {
        const [expected, actual] = [
          [0, 1, 2, 3, 4, 5],
          [0, 1, 2, 3, 4, 5],
        ];
        for (const { from, to } of copies) expected[to] = expected[from]!;
        for (const round of planCopies(copies)) {
          const written = round.map(({ to }) => to);
          expect(new Set(written).size).toBe(written.length);
          for (const { from } of round) expect(written).not.toContain(from);
          for (const { from, to } of round) actual[to] = actual[from]!;
        }
        expect(actual).toEqual(expected);
      }),
      { seed: 5 },
    );
  });
});
