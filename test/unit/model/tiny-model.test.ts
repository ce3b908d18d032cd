import { describe, expect, it } from "vitest";
import { argmax, ReferenceModel, referenceGreedy, referenceLogits } from "../../support/reference-forward.ts";
import { tinyModel, tinyModelBytes } from "../../support/tiny-model.ts";

const PROMPT = [40, 41, 42, 100, 200, 300];

function deviation(values: Float64Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

describe("tiny models", () => {
  it("are the same for a seed, and differ between seeds", () => {
    expect(tinyModelBytes({ seed: 3 })).toEqual(tinyModelBytes({ seed: 3 }));
    expect(tinyModelBytes({ seed: 3 })).not.toEqual(tinyModelBytes({ seed: 4 }));
  });

  it.each([
    ["tied, grouped heads", {}],
    ["untied, one key head, rope factors", { tied: false, numKvHeads: 1, ropeFreqs: true }],
    ["linear scaling", { linearScale: 4, numKvHeads: 4 }],
    ["8-bit weights", { weightType: "Q8_0" as const }],
    ["qwen2", { architecture: "qwen2" }],
    ["qwen3", { architecture: "qwen3" }],
    ["gemma3", { architecture: "gemma3", numLayers: 6, slidingWindow: 3 }],
    ["phi3", { architecture: "phi3", longRopeBeyond: 32 }],
    ["gpt2", { architecture: "gpt2", numKvHeads: 4 }],
  ])("have logits of a sane size, which depend on the whole prompt: %s", async (_case, options) => {
    const { spec, weights } = await tinyModel(options);
    const logits = referenceLogits(spec, weights, PROMPT);
    for (const row of logits) expect(deviation(row)).toBeGreaterThan(1);
    for (const row of logits) expect(deviation(row)).toBeLessThan(4);
    const changed = referenceLogits(spec, weights, [41, ...PROMPT.slice(1)]);
    const difference = Math.max(...logits.at(-1)!.map((value, i) => Math.abs(value - changed.at(-1)![i]!)));
    expect(difference).toBeGreaterThan(0.05);
  });

  it("see the rope factors and the linear scale", async () => {
    const plain = await tinyModel();
    for (const options of [{ ropeFreqs: true }, { linearScale: 4 }]) {
      const other = await tinyModel(options);
      const a = referenceLogits(plain.spec, plain.weights, PROMPT).at(-1)!;
      const b = referenceLogits(other.spec, other.weights, PROMPT).at(-1)!;
      expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeGreaterThan(0.05);
    }
  });
});

describe("the reference forward pass", () => {
  it("gives uniform attention the mean of the values: a model computed by hand", async () => {
    // One head of 2, identity matrices, q = 0: the attention output at a position is the mean of the normed inputs.
    const { spec, weights } = await tinyModel({ numLayers: 1, dModel: 2, numHeads: 1, numKvHeads: 1, ffnDim: 2 });
    const identity = Float32Array.of(1, 0, 0, 1);
    for (const name of ["attn_k", "attn_v", "attn_output"]) weights.set(`blk.0.${name}.weight`, identity);
    weights.set("blk.0.attn_q.weight", new Float32Array(4));
    weights.set("blk.0.ffn_down.weight", new Float32Array(4));
    weights.set("blk.0.attn_norm.weight", Float32Array.of(1, 1));
    weights.set("output_norm.weight", Float32Array.of(1, 1));
    const embedding = new Float32Array(313 * 2);
    embedding.set([3, 4, 1, 0], 0);
    weights.set("token_embd.weight", embedding);

    const normed = (x: number[]) => x.map((v) => v / Math.sqrt((x[0]! ** 2 + x[1]! ** 2) / 2 + spec.normEpsilon));
    const [n0, n1] = [normed([3, 4]), normed([1, 0])];
    const hidden = [1 + (n0[0]! + n1[0]!) / 2, (n0[1]! + n1[1]!) / 2];
    const final = normed(hidden);
    const logits = referenceLogits(spec, weights, [0, 1])[1]!;
    expect(logits[0]).toBeCloseTo(3 * final[0]! + 4 * final[1]!, 12);
    expect(logits[1]).toBeCloseTo(final[0]!, 12);
  });

  it("goes on greedily from what it computed", async () => {
    const { spec, weights } = await tinyModel();
    const { tokens, gaps } = referenceGreedy(spec, weights, PROMPT, 5);
    const logits = referenceLogits(spec, weights, [...PROMPT, ...tokens]);
    expect(tokens).toEqual(logits.slice(PROMPT.length - 1, -1).map(argmax));
    expect(Math.min(...gaps)).toBeGreaterThan(0);
  });

  it("is causal: later tokens change nothing before them", async () => {
    const { spec, weights } = await tinyModel();
    const model = new ReferenceModel(spec, weights);
    const first = model.next(PROMPT[0]!);
    expect(referenceLogits(spec, weights, PROMPT)[0]).toEqual(first);
  });
});
