/**
 * Whatever the bytes, the reader and the spec either succeed or throw a ModelError, in bounded time and memory. Every
 * file here starts as a sound one, so that the mutations reach the inner checks.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModelError } from "../../../src/model/errors.ts";
import { readGguf, tensorPieces } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import { writeGguf } from "../../support/gguf-writer.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";

/** About 19 kB: one layer behind a header with everything a real one has. */
const MODEL = tinyModelBytes({ numLayers: 1, dModel: 8, numHeads: 2, numKvHeads: 1, ffnDim: 8, ropeFreqs: true });
const SEED = 20_261_122;

interface Outcome {
  error: ModelError | null;
  numTensorBytes: number;
}

/** Reads all of it the way a backend does; anything but a ModelError fails the test. */
async function outcome(bytes: Uint8Array, chunkBytes: number, knowsSize: boolean): Promise<Outcome> {
  const memory = memorySource(bytes, "fuzz.gguf", chunkBytes);
  const source = { ...memory, sizeBytes: knowsSize ? bytes.length : null };
  let numTensorBytes = 0;
  try {
    const { header, data } = await readGguf(source);
    try {
      specFromGguf(header, source.name);
    } finally {
      for await (const piece of tensorPieces(header, data)) numTensorBytes += piece.bytes.length;
    }
    return { error: null, numTensorBytes };
  } catch (error) {
    if (error instanceof ModelError && error.message.includes("fuzz.gguf")) return { error, numTensorBytes };
    throw error;
  }
}

const headerEnd = async () => (await readGguf(memorySource(MODEL, "m"))).header.dataOffsetBytes;

describe("fuzzing", () => {
  it("a file cut at any length is refused as truncated", async () => {
    const end = await headerEnd();
    const cuts = [
      ...Array.from({ length: end + 64 }, (_, i) => i),
      ...range(end + 64, MODEL.length, 61),
      MODEL.length - 1,
    ];
    for (const length of cuts) {
      for (const knowsSize of [true, false]) {
        const { error } = await outcome(MODEL.subarray(0, length), 1 << 20, knowsSize);
        expect(error?.kind, `cut at ${length}`).toBe("corrupt");
        expect(error?.message).toContain("truncated");
      }
    }
  });

  it("any flipped bit of the header is a ModelError or another sound file", async () => {
    const end = await headerEnd();
    for (let at = 0; at < end; at++) {
      const bytes = MODEL.slice();
      bytes[at]! ^= 1 << (at % 8);
      await outcome(bytes, 1 << 20, at % 2 === 0);
    }
  });

  it("random edits, insertions and removals", async () => {
    const edit = fc.record({
      at: fc.integer({ min: 0, max: 12_000 }),
      remove: fc.integer({ min: 0, max: 16 }),
      insert: fc.uint8Array({ maxLength: 16 }),
    });
    const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        edits,
        fc.integer({ min: 16, max: 40_000 }),
        fc.boolean(),
        async (list, chunkBytes, knowsSize) => {
          await outcome(list.reduce(applyEdit, MODEL), chunkBytes, knowsSize);
        },
      ),
      { seed: SEED, numRuns: 3000 },
    );
  });

  it("counts, lengths and offsets replaced by hostile ones", async () => {
    const hostile = fc.constantFrom(
      0n,
      1n,
      0xffn,
      0x7fffffffn,
      0xffffffffn,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
      1n << 20n,
    );
    const end = await headerEnd();
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 4, max: end - 8 }), hostile, fc.boolean(), async (at, value, knowsSize) => {
        const bytes = MODEL.slice();
        new DataView(bytes.buffer).setBigUint64(at, value, true);
        const { numTensorBytes } = await outcome(bytes, 1 << 20, knowsSize);
        expect(numTensorBytes).toBeLessThanOrEqual(MODEL.length);
      }),
      { seed: SEED, numRuns: 3000 },
    );
  });

  it("random bytes after a sound preamble", async () => {
    const preamble = writeGguf({ metadata: [], tensors: [] }).subarray(0, 8);
    const counts = fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 }));
    await fc.assert(
      fc.asyncProperty(counts, fc.uint8Array({ maxLength: 400 }), async ([numTensors, numKeys], rest) => {
        const bytes = Uint8Array.of(...preamble, ...u64(numTensors), ...u64(numKeys), ...rest);
        await outcome(bytes, 64, true);
      }),
      { seed: SEED, numRuns: 3000 },
    );
  });

  it("holds no more than the file when lengths lie", async () => {
    // 64 keys that each claim an array of a million u64: 8 MB each if the claim were believed.
    const claim = [...u64(1), 107, 9, 0, 0, 0, 10, 0, 0, 0, ...u64(1 << 20)];
    const header = [...writeGguf({ metadata: [], tensors: [] }).subarray(0, 8), ...u64(0), ...u64(64)];
    const bytes = Uint8Array.of(...header, ...Array.from({ length: 64 }, () => claim).flat());
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 20; i++) expect((await outcome(bytes, 1 << 20, true)).error?.message).toContain("truncated");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8_000_000);
  });
});

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step);
}

function applyEdit(bytes: Uint8Array, edit: { at: number; remove: number; insert: Uint8Array }): Uint8Array {
  const out = new Uint8Array(Math.max(bytes.length - edit.remove, edit.at) + edit.insert.length);
  out.set(bytes.subarray(0, edit.at));
  out.set(edit.insert, edit.at);
  out.set(bytes.subarray(edit.at + edit.remove), edit.at + edit.insert.length);
  return out;
}

function u64(value: number): number[] {
  return [...new Uint8Array(BigUint64Array.of(BigInt(value)).buffer)];
}
