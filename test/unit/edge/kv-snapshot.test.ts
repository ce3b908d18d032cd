import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KvRow, kvFingerprint, openRow, sealRow } from "../../../src/edge/kv-snapshot.ts";

const PLACE = { fingerprint: "model@digest", index: 3, hash: "0123456789abcdef" };
const TOKENS = Int32Array.from({ length: 16 }, (_, i) => i * 977);
const BYTES = Uint8Array.from({ length: 1000 }, (_, i) => (i * 31) & 0xff);

const sealed = () => sealRow(PLACE, TOKENS, BYTES);
const flipped = (buffer: ArrayBuffer, bit: number) => {
  const bytes = new Uint8Array(buffer.slice(0));
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  return bytes.buffer;
};

describe("a row", () => {
  it("gives back what was put into it", () => {
    const { tokens, bytes, checksum } = sealed();
    expect(new Int32Array(tokens)).toEqual(TOKENS);
    expect(checksum).toMatch(/^[0-9a-f]{32}$/);
    expect(openRow(PLACE, TOKENS, { tokens, bytes, checksum })).toEqual(BYTES);
  });

  it("keeps a block of any number of words, and takes it out of a larger buffer", () => {
    for (const numWords of [0, 1, 2, 3, 4, 5, 7, 8]) {
      const bytes = BYTES.subarray(8, 8 + numWords * 4);
      const row = sealRow(PLACE, TOKENS, bytes);
      expect(row.bytes.byteLength).toBe(numWords * 4);
      expect(openRow(PLACE, TOKENS, row)).toEqual(Uint8Array.from(bytes));
    }
    expect(() => sealRow(PLACE, TOKENS, BYTES.subarray(0, 6))).toThrow("6 bytes is no whole number of words");
  });

  it("is worthless when any bit of it is flipped", () => {
    const row = sealed();
    for (let bit = 0; bit < row.bytes.byteLength * 8; bit++) {
      expect(openRow(PLACE, TOKENS, { ...row, bytes: flipped(row.bytes, bit) })).toBeNull();
    }
    for (let bit = 0; bit < row.tokens.byteLength * 8; bit++) {
      expect(openRow(PLACE, TOKENS, { ...row, tokens: flipped(row.tokens, bit) })).toBeNull();
    }
    expect(openRow(PLACE, TOKENS, { ...row, checksum: row.checksum.replace(/^./, "x") })).toBeNull();
  });

  it("is worthless when its words change in any way, order and number included", () => {
    const words = fc.uint32Array({ minLength: 0, maxLength: 12 });
    fc.assert(
      fc.property(words, words, (first, second) => {
        fc.pre(first.join() !== second.join());
        const row = sealRow(PLACE, TOKENS, new Uint8Array(first.slice().buffer));
        expect(openRow(PLACE, TOKENS, { ...row, bytes: second.slice().buffer })).toBeNull();
      }),
      { seed: 11, numRuns: 2000 },
    );
  });

  it("is worthless when it is truncated, also within a word", () => {
    const row = sealed();
    const cut: Partial<KvRow>[] = [999, 996, 4, 1, 0].map((length) => ({ bytes: row.bytes.slice(0, length) }));
    cut.push({ tokens: row.tokens.slice(0, 60) }, { tokens: row.tokens.slice(0, 63) }, { checksum: "" });
    for (const fields of cut) expect(openRow(PLACE, TOKENS, { ...row, ...fields })).toBeNull();
  });

  it("belongs to one place and to its tokens", () => {
    const row = sealed();
    const elsewhere = [{ fingerprint: "model@other" }, { index: 2 }, { hash: "0123456789abcdee" }];
    for (const fields of elsewhere) expect(openRow({ ...PLACE, ...fields }, TOKENS, row)).toBeNull();
    expect(
      openRow(
        PLACE,
        TOKENS.map((id, i) => (i === 15 ? 0 : id)),
        row,
      ),
    ).toBeNull();
  });
});

it("a fingerprint differs with everything that the bytes depend on", () => {
  const layout = {
    modelKey: "demo@abc",
    abiVersion: 2,
    engineName: "wasm-simd128",
    kvPrecision: "f16",
    blockTokens: 16,
    numLayers: 4,
    numKvHeads: 2,
    headDim: 64,
  };
  const others = [
    { modelKey: "demo@abd" },
    { abiVersion: 3 },
    { engineName: "wasm-scalar" },
    { kvPrecision: "q8" },
    { blockTokens: 8 },
    { numLayers: 5 },
    { numKvHeads: 4 },
    { headDim: 32 },
  ];
  const fingerprints = [layout, ...others.map((fields) => ({ ...layout, ...fields }))].map(kvFingerprint);
  expect(new Set(fingerprints).size).toBe(1 + Object.keys(layout).length);
});
