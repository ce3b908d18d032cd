/** The attention kernel by itself: every KV precision on every kernel set against float64, whatever the shape. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CpuExports, MODULE_BYTES } from "../../../src/backends/cpu/exports.ts";
import { KERNEL_SETS, type KernelSet } from "../../../src/backends/cpu/kernel-set.ts";
import { KV_PRECISIONS, type KvPrecision, planCpuMemory } from "../../../src/backends/cpu/memory-plan.ts";
import { writeDescriptor } from "../../../src/backends/cpu/model-descriptor.ts";
import { roundToHalf } from "../../../src/model/float16.ts";
import { normalSource } from "../../support/random.ts";
import { tinyModel } from "../../support/tiny-model.ts";
import { kernelsWithMemory } from "./support.ts";

const tiny = (await tinyModel({ numLayers: 2 })).spec;
const ALL_KEYS = 0xffff_ffff;
const LAYER = 1;

interface Shape {
  numKvHeads: number;
  /** Query heads of each kv head. */
  numShared: number;
  headDim: number;
  blockTokens: number;
  numKeys: number;
}

/** A kernel instance whose KV pool holds `numKeys` random tokens of one sequence, in blocks of any order. */
class Attention {
  readonly shape: Shape;
  readonly keys: Float32Array[] = [];
  readonly values: Float32Array[] = [];
  readonly queries: Float32Array[] = [];
  readonly #exports: CpuExports;
  readonly #addresses: { model: number; table: number; vectors: number };
  readonly #table: number[];

  constructor(set: KernelSet, kvPrecision: KvPrecision, shape: Shape, seed: number) {
    const { numKvHeads, numShared, headDim, blockTokens, numKeys } = shape;
    this.shape = shape;
    const attentionScale = 1 / Math.sqrt(headDim);
    const heads = { numHeads: numKvHeads * numShared, numKvHeads, headDim, attentionScale };
    const spec = { ...tiny, ...heads, contextLength: numKeys };
    const tableLength = Math.ceil(numKeys / blockTokens);
    const numBlocks = tableLength + 2;
    const plan = planCpuMemory(spec, { blockTokens, numBlocks, kvPrecision });
    const table = plan.totalBytes;
    const vectors = table + Math.ceil(tableLength / 16) * 64;
    const bytes = vectors + numKeys * spec.numHeads * headDim * 4 - MODULE_BYTES;
    this.#exports = kernelsWithMemory(set, bytes);
    const { buffer } = this.#exports.memory;
    const { model, kv } = plan.addresses;
    this.#addresses = { model, table, vectors };
    writeDescriptor(buffer as ArrayBuffer, spec, plan);
    expect(this.#exports.kv_block_bytes(model)).toBe(plan.blockBytes);
    // What slots held before must not matter: this is NaN in f32 and in the scales of int8.
    new Uint8Array(buffer, kv, plan.kvBytes).fill(0xff);
    this.#table = Array.from({ length: tableLength }, (_, i) => (i * 7 + seed) % tableLength);
    if (new Set(this.#table).size < tableLength) this.#table = this.#table.map((_, i) => tableLength + 1 - i);
    new Uint32Array(buffer, table, tableLength).set(this.#table);

    const normal = normalSource(seed);
    const random = (length: number, size: number) => Float32Array.from({ length }, () => normal() * size);
    for (let key = 0; key < numKeys; key++) {
      this.keys.push(random(numKvHeads * headDim, 1.5));
      this.values.push(random(numKvHeads * headDim, 1));
      this.queries.push(random(spec.numHeads * headDim, 1));
    }
    for (let key = 0; key < numKeys; key++) {
      const k = this.#write(vectors, this.keys[key]!);
      this.#write(vectors + k, this.values[key]!);
      const block = this.#table[Math.floor(key / blockTokens)]!;
      this.#exports.debug_write_kv(model, block, LAYER, key % blockTokens, vectors, vectors + k);
    }
  }

  /** Results of the tokens at `first` … `first + count − 1`, run as one chunk. */
  run(first: number, count: number, window = ALL_KEYS): Float32Array[] {
    const { model, table, vectors } = this.#addresses;
    const queries = this.queries.slice(first, first + count);
    const width = queries[0]!.length;
    queries.forEach((query, i) => {
      this.#write(vectors + i * width * 4, query);
    });
    const failed = this.#exports.debug_attend(model, LAYER, table, this.#table.length, first, count, window, vectors);
    expect(failed).toBe(0);
    return queries.map((_, i) => new Float32Array(this.#exports.memory.buffer, vectors + i * width * 4, width).slice());
  }

  #write(address: number, values: Float32Array): number {
    new Float32Array(this.#exports.memory.buffer, address, values.length).set(values);
    return values.byteLength;
  }
}

/** As the cache keeps them: the error that remains is the kernel's own. */
function stored(values: Float32Array, headDim: number, precision: KvPrecision): Float64Array {
  if (precision === "f32") return Float64Array.from(values);
  if (precision === "f16") return Float64Array.from(values, roundToHalf);
  const out = new Float64Array(values.length);
  for (let from = 0; from < values.length; from += headDim) {
    const head = values.subarray(from, from + headDim);
    const largest = head.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const most = precision === "q8" ? 127 : 4095;
    const [scale, inverse] = [Math.fround(largest / most), Math.fround(most / largest)];
    head.forEach((value, i) => {
      out[from + i] = scale * Math.round(Math.fround(value * inverse));
    });
  }
  return out;
}

/** Softmax(q · K / √headDim) · V in float64 for the token at `position`. */
function exactly(attention: Attention, precision: KvPrecision, position: number, window = ALL_KEYS): Float64Array {
  const { numKvHeads, numShared, headDim } = attention.shape;
  const out = new Float64Array(numKvHeads * numShared * headDim);
  const visible = Array.from({ length: position + 1 }, (_, key) => key).slice(-window);
  const [keys, values] = [attention.keys, attention.values].map((rows) =>
    visible.map((key) => stored(rows[key]!, headDim, precision)),
  );
  for (let head = 0; head < numKvHeads * numShared; head++) {
    const query = attention.queries[position]!.subarray(head * headDim, (head + 1) * headDim);
    const kvFrom = Math.floor(head / numShared) * headDim;
    const scores = keys!.map((key) => query.reduce((sum, q, i) => sum + q * key[kvFrom + i]!, 0) / Math.sqrt(headDim));
    const max = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - max));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, i) => {
      for (let c = 0; c < headDim; c++) out[head * headDim + c]! += (weight / total) * values![i]![kvFrom + c]!;
    });
  }
  return out;
}

/** Integers meet a query and weights that are rounded, to 16 bits and to 14; the others only add in f32. */
const TOLERANCE: Record<KvPrecision, number> = { f32: 5e-6, f16: 5e-6, q8: 2e-4, i16: 1e-3 };

function expectClose(actual: Float32Array, expected: Float64Array, tolerance: number, what: string): void {
  const worst = actual.reduce((max, value, i) => {
    const error = Math.abs(value - expected[i]!);
    return error > max || Number.isNaN(error) ? error : max;
  }, 0);
  if (!(worst <= tolerance)) expect.fail(`${what} is off by ${worst}, more than ${tolerance}`);
}

const SHAPES: Shape[] = [
  { numKvHeads: 1, numShared: 1, headDim: 8, blockTokens: 4, numKeys: 37 },
  { numKvHeads: 3, numShared: 3, headDim: 64, blockTokens: 16, numKeys: 150 },
  { numKvHeads: 2, numShared: 2, headDim: 20, blockTokens: 1, numKeys: 70 },
  { numKvHeads: 1, numShared: 4, headDim: 32, blockTokens: 6, numKeys: 133 },
  { numKvHeads: 2, numShared: 7, headDim: 12, blockTokens: 100, numKeys: 210 },
  { numKvHeads: 1, numShared: 8, headDim: 256, blockTokens: 16, numKeys: 66 },
  { numKvHeads: 1, numShared: 35, headDim: 4, blockTokens: 3, numKeys: 20 },
];

describe.each(KERNEL_SETS)("%s", (set) => {
  describe.each(KV_PRECISIONS)("K and V in %s", (precision) => {
    test.each(SHAPES)("%o: agrees with float64, for whole chunks, single tokens and windows", (shape) => {
      const attention = new Attention(set, precision, shape, 5);
      for (const window of [ALL_KEYS, 1, 5, 64, 67]) {
        const chunk = attention.run(0, shape.numKeys, window);
        for (let position = 0; position < shape.numKeys; position += position < 3 ? 1 : 13) {
          const exact = exactly(attention, precision, position, window);
          expectClose(chunk[position]!, exact, TOLERANCE[precision], `position ${position}, window ${window}`);
        }
        const last = shape.numKeys - 1;
        expect(attention.run(last, 1, window)).toEqual([chunk[last]]);
      }
    });

    test("any chunking gives the same bits, whatever the shape and window", () => {
      const shape = fc.record({
        numKvHeads: fc.integer({ min: 1, max: 2 }),
        numShared: fc.integer({ min: 1, max: 9 }),
        headDim: fc.integer({ min: 1, max: 9 }).map((n) => n * 4),
        blockTokens: fc.integer({ min: 1, max: 70 }),
        numKeys: fc.integer({ min: 1, max: 140 }),
      });
      const chunks = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 140, maxLength: 140 });
      const window = fc.oneof(fc.constant(ALL_KEYS), fc.integer({ min: 1, max: 100 }));
      fc.assert(
        fc.property(shape, chunks, window, fc.nat(1000), (shape, chunks, window, seed) => {
          const attention = new Attention(set, precision, shape, seed);
          const whole = attention.run(0, shape.numKeys, window);
          let first = 0;
          for (const wanted of chunks) {
            const count = Math.min(wanted, shape.numKeys - first);
            if (count === 0) break;
            expect(attention.run(first, count, window)).toEqual(whole.slice(first, first + count));
            first += count;
          }
          const last = shape.numKeys - 1;
          const exact = exactly(attention, precision, last, window);
          expectClose(whole[last]!, exact, TOLERANCE[precision], `position ${last}`);
        }),
        { numRuns: 15, seed: 11 },
      );
    });

    test("a token that dwarfs the others, before or after them, takes all the weight", () => {
      const shape = { numKvHeads: 1, numShared: 3, headDim: 16, blockTokens: 16, numKeys: 130 };
      for (const place of [0, 64, 129]) {
        const attention = new Attention(set, precision, shape, 3);
        const [last] = attention.run(129, 1);
        attention.queries[129] = attention.queries[129]!.map((_, i) => 40 * attention.keys[place]![i % 16]!);
        const [drawn] = attention.run(129, 1);
        const exact = exactly(attention, precision, 129);
        expectClose(drawn!, exact, TOLERANCE[precision] * 20, `key ${place}`);
        expect(drawn).not.toEqual(last);
      }
    });
  });
});
