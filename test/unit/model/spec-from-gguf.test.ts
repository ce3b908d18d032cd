import { describe, expect, it } from "vitest";
import { ModelError, type ModelErrorKind } from "../../../src/model/errors.ts";
import type { GgufHeader } from "../../../src/model/gguf.ts";
import { readGgufHeader } from "../../../src/model/gguf-reader.ts";
import type { LayerTensors, ModelSpec, RoleTensor } from "../../../src/model/model-spec.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import { bool, f32, i32s, string, strings, u32, type WriterValue } from "../../support/gguf-writer.ts";
import { K_QUANT_SHAPE, type TinyModelOptions, tinyModelBytes } from "../../support/tiny-model.ts";

const header = (options: TinyModelOptions = {}) => readGgufHeader(memorySource(tinyModelBytes(options), "m.gguf"));
const spec = async (options: TinyModelOptions = {}) => specFromGguf(await header(options), "m.gguf");

function namesAndDims(layer: LayerTensors) {
  const present = Object.entries(layer).filter(([, tensor]) => tensor !== null) as [string, RoleTensor][];
  return Object.fromEntries(present.map(([role, { name, dims }]) => [role, [name, dims]]));
}

async function failure(options: TinyModelOptions, edit?: (header: GgufHeader) => void): Promise<ModelError> {
  const made = await header(options);
  edit?.(made);
  try {
    specFromGguf(made, "m.gguf");
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    return error as ModelError;
  }
  throw new Error("nothing was refused");
}

describe("specFromGguf", () => {
  it("reads every number of a llama", async () => {
    const made = await spec({ ropeBase: 500_000, contextLength: 512 });
    const { tensors, ...numbers } = made;
    expect(numbers).toEqual({
      architecture: "llama",
      numLayers: 2,
      dModel: 64,
      numHeads: 4,
      numKvHeads: 2,
      headDim: 16,
      ffnDim: 96,
      vocabSize: 313,
      contextLength: 512,
      normEpsilon: Math.fround(1e-5),
      norm: "rms",
      embeddingScale: 1,
      attentionScale: 1 / 4,
      rope: {
        base: 500_000,
        numDims: 16,
        pairing: "interleaved",
        linearScale: 1,
        magnitude: 1,
        freqFactors: null,
        longFactors: null,
      },
      slidingWindow: null,
      activation: "silu",
      pooling: "last",
      tiedHead: true,
    } satisfies Omit<ModelSpec, "tensors">);
    expect(tensors.output).toBeNull();
    expect(tensors.tokenEmbedding).toMatchObject({ name: "token_embd.weight", dims: [64, 313] });
    expect(tensors.layers).toHaveLength(2);
    expect(namesAndDims(tensors.layers[1]!)).toEqual({
      attnNorm: ["blk.1.attn_norm.weight", [64]],
      attnQ: ["blk.1.attn_q.weight", [64, 64]],
      attnK: ["blk.1.attn_k.weight", [64, 32]],
      attnV: ["blk.1.attn_v.weight", [64, 32]],
      attnOutput: ["blk.1.attn_output.weight", [64, 64]],
      ffnNorm: ["blk.1.ffn_norm.weight", [64]],
      ffnGate: ["blk.1.ffn_gate.weight", [64, 96]],
      ffnUp: ["blk.1.ffn_up.weight", [64, 96]],
      ffnDown: ["blk.1.ffn_down.weight", [96, 64]],
    });
  });

  it("reads an untied head, rope factors and linear scaling", async () => {
    const made = await spec({ tied: false, ropeFreqs: true, linearScale: 4 });
    expect(made.tiedHead).toBe(false);
    expect(made.tensors.output?.name).toBe("output.weight");
    expect(made.rope?.freqFactors).toMatchObject({ name: "rope_freqs.weight", dims: [8] });
    expect(made.rope?.linearScale).toBe(4);
  });

  it("takes heads that are not dModel / numHeads wide", async () => {
    expect(await spec({ headDim: 32 })).toMatchObject({ headDim: 32, dModel: 64, numHeads: 4 });
  });

  it("fills in what old files leave out", async () => {
    const metadata = Object.fromEntries(
      [
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "rope.dimension_count",
        "rope.freq_base",
      ].map((key) => [`llama.${key}`, null]),
    );
    const made = await spec({ numKvHeads: 4, metadata });
    expect(made).toMatchObject({ numKvHeads: 4, headDim: 16, rope: { base: 10_000, numDims: 16, linearScale: 1 } });
  });

  it("takes values for each layer where they agree", async () => {
    const metadata = { "llama.attention.head_count_kv": i32s([2, 2]), "llama.feed_forward_length": i32s([96, 96]) };
    expect(await spec({ metadata })).toMatchObject({ numKvHeads: 2, ffnDim: 96 });
  });

  it("lets every layer see as far as the window, and keeps the context", async () => {
    const { slidingWindow, contextLength, rope } = await spec({ architecture: "mistral", slidingWindow: 100 });
    expect(contextLength).toBe(256);
    expect(slidingWindow).toEqual({ numTokens: 100, isLocal: [true, true], rope });
    expect(slidingWindow?.rope).toBe(rope);
  });

  it.each([0, 256, 4096])("sees no window in one of %i tokens: it hides nothing", async (window) => {
    expect((await spec({ metadata: { "llama.attention.sliding_window": u32(window) } })).slidingWindow).toBeNull();
  });

  it("passes keys with neutral values", async () => {
    const metadata = {
      "llama.expert_count": u32(0),
      "llama.logit_scale": f32(1),
      "llama.attention.causal": bool(true),
      "llama.rope.scaling.type": string("none"),
      "llama.rope.scaling.factor": f32(8),
    };
    expect((await spec({ metadata })).rope?.linearScale).toBe(1);
  });

  it("keeps the file's types, also mixed ones", async () => {
    const weightType = (name: string) => (name.includes("ffn_down") ? "Q6_K" : "Q4_K");
    const made = await spec({ ...K_QUANT_SHAPE, weightType });
    expect(made.tensors.layers[0]!.ffnDown.type).toBe("Q6_K");
    expect(made.tensors.layers[0]!.ffnUp.type).toBe("Q4_K");
  });
});

describe("the other architectures", () => {
  it("qwen2 has biases and pairs halves", async () => {
    const { tensors, rope } = await spec({ architecture: "qwen2" });
    expect(rope?.pairing).toBe("half-split");
    expect(namesAndDims(tensors.layers[0]!)).toMatchObject({
      attnQBias: ["blk.0.attn_q.bias", [64]],
      attnKBias: ["blk.0.attn_k.bias", [32]],
      attnVBias: ["blk.0.attn_v.bias", [32]],
    });
  });

  it("qwen3 has norms of heads", async () => {
    const { tensors } = await spec({ architecture: "qwen3", headDim: 32 });
    expect(namesAndDims(tensors.layers[1]!)).toMatchObject({
      attnQ: ["blk.1.attn_q.weight", [64, 128]],
      attnQNorm: ["blk.1.attn_q_norm.weight", [32]],
      attnKNorm: ["blk.1.attn_k_norm.weight", [32]],
    });
  });

  it("gemma3 sees far in every sixth layer, with another rope there", async () => {
    const options = { architecture: "gemma3", numLayers: 7, slidingWindow: 6, ropeBase: 1e6, linearScale: 8 };
    const made = await spec(options);
    expect(made).toMatchObject({ embeddingScale: 8, activation: "gelu-tanh", rope: { base: 1e6, linearScale: 8 } });
    expect(made.slidingWindow).toMatchObject({
      numTokens: 6,
      isLocal: [true, true, true, true, true, false, true],
      rope: { base: 10_000, linearScale: 1 },
    });
    const metadata = {
      "gemma3.attention.sliding_window_pattern": u32(3),
      "gemma3.rope.freq_base_swa": f32(5000),
    };
    expect((await spec({ ...options, metadata })).slidingWindow).toMatchObject({
      isLocal: [true, true, false, true, true, false, true],
      rope: { base: 5000 },
    });
  });

  it("phi3 keeps several roles in one tensor; each is some of its rows", async () => {
    const { tensors, slidingWindow } = await spec({ architecture: "phi3", weightType: "Q8_0", slidingWindow: 20 });
    expect(slidingWindow).toBeNull();
    const { attnQ, attnK, attnV, ffnGate, ffnUp } = tensors.layers[0]!;
    expect([attnQ, attnK, attnV].map(({ firstRow, dims }) => [firstRow, dims])).toEqual([
      [0, [64, 64]],
      [64, [64, 32]],
      [96, [64, 32]],
    ]);
    expect([ffnGate, ffnUp].map((role) => [role?.firstRow, role?.dims])).toEqual([
      [0, [64, 96]],
      [96, [64, 96]],
    ]);
    const { stored } = attnK;
    expect(stored).toMatchObject({ name: "blk.0.attn_qkv.weight", dims: [64, 128] });
    expect(attnV.stored).toBe(stored);
    expect(attnK.offsetBytes).toBe(stored.offsetBytes + 64 * 68);
    expect(attnK.sizeBytes).toBe(32 * 68);
  });

  it("phi3 has factors for short and for long contexts", async () => {
    const { rope } = await spec({ architecture: "phi3", longRopeBeyond: 32 });
    expect(rope).toMatchObject({
      magnitude: Math.fround(1.2),
      linearScale: 1,
      freqFactors: { name: "rope_factors_short.weight" },
      longFactors: { tensor: { name: "rope_factors_long.weight" }, beyondTokens: 32 },
    });
  });

  it("gpt2 learns its positions and has no gate", async () => {
    const { tensors, rope, norm } = await spec({ architecture: "gpt2", numKvHeads: 4 });
    expect([rope, norm]).toEqual([null, "layer"]);
    expect(tensors.positionEmbedding).toMatchObject({ name: "position_embd.weight", dims: [64, 256] });
    expect(tensors.layers[0]!.ffnGate).toBeNull();
    expect(tensors.layers[0]!.attnKBias).toMatchObject({ name: "blk.0.attn_qkv.bias", dims: [64], firstRow: 64 });
  });

  it.each([
    ["gemma3", "gemma3.final_logit_softcapping", f32(30), "soft-capped logits"],
    ["gemma3", "gemma3.attention.sliding_window_pattern", u32(0), "must be an integer of at least 1"],
    ["qwen2", "qwen2.attention.sliding_window", u32(100), "a sliding window"],
    ["qwen3", "qwen3.expert_count", u32(8), "a mixture of experts"],
    ["phi3", "phi3.rope.scaling.type", string("yarn"), `by the method "yarn"`],
    ["phi3", "phi3.rope.dimension_count", u32(18), "must be even and at most the head size, 16"],
    [
      "gpt2",
      "gpt2.context_length",
      u32(128),
      `"position_embd.weight" has the dimensions 64 × 256; they must be 64 × 128`,
    ],
  ])("%s refuses %s", async (architecture, key, value, part) => {
    const numKvHeads = architecture === "gpt2" ? 4 : 2;
    const slidingWindow = architecture === "gemma3" ? 6 : 0;
    const error = await failure({ architecture, numKvHeads, slidingWindow, metadata: { [key]: value } });
    expect(error.message).toContain(part);
  });

  it("refuses half of a pair of factors, and a tensor of another architecture", async () => {
    const options = { architecture: "phi3", longRopeBeyond: 32 };
    const lone = await failure(options, ({ tensors }) => {
      tensors.splice(
        tensors.findIndex(({ name }) => name === "rope_factors_short.weight"),
        1,
      );
    });
    expect(lone).toMatchObject({ kind: "missing", message: expect.stringContaining(`"rope_factors_short.weight"`) });
    const strange = await failure({ architecture: "qwen3" }, ({ tensors }) => {
      tensors.push({ name: "blk.0.attn_q.bias", type: "F32", dims: [64], offsetBytes: 0, sizeBytes: 256 });
    });
    expect(strange.message).toContain(`the qwen3 architecture does not explain: "blk.0.attn_q.bias"`);
  });
});

const KEYS: [string, WriterValue | null, ModelErrorKind, string][] = [
  ["general.architecture", null, "missing", `m.gguf has no "general.architecture"`],
  [
    "general.architecture",
    string("mamba"),
    "unsupported_architecture",
    `"mamba", which is not supported. Supported: llama`,
  ],
  ["general.architecture", string("__proto__"), "unsupported_architecture", `"__proto__", which is not supported`],
  ["general.architecture", u32(1), "corrupt", `"general.architecture" is 1; it must be a string`],
  ["llama.block_count", null, "missing", `no "llama.block_count"`],
  ["llama.block_count", u32(0), "corrupt", `"llama.block_count" is 0; it must be an integer of at least 1`],
  ["llama.block_count", u32(3), "missing", `no tensor "blk.2.attn_norm.weight"`],
  [
    "llama.block_count",
    u32(1),
    "unsupported_architecture",
    `9 tensors that the llama architecture does not explain: "blk.1.attn_norm.weight"`,
  ],
  ["llama.block_count", f32(1.5), "corrupt", `"llama.block_count" is 1.5`],
  ["llama.block_count", string("two"), "corrupt", `"llama.block_count" is "two"`],
  ["llama.context_length", null, "missing", `no "llama.context_length"`],
  ["llama.embedding_length", u32(65), "corrupt", `dimensions 64`],
  [
    "llama.feed_forward_length",
    u32(97),
    "corrupt",
    `"blk.0.ffn_gate.weight" has the dimensions 64 × 96; they must be 64 × 97`,
  ],
  ["llama.feed_forward_length", i32s([96, 48]), "unsupported_architecture", "differs between layers (96, 48)"],
  ["llama.attention.head_count_kv", u32(3), "corrupt", `is 3, which does not divide the 4 heads`],
  [
    "llama.attention.head_count_kv",
    u32(4),
    "corrupt",
    `"blk.0.attn_k.weight" has the dimensions 64 × 32; they must be 64 × 64`,
  ],
  ["llama.attention.value_length", u32(8), "unsupported_architecture", "heads of 16 for keys and 8 for values"],
  ["llama.attention.layer_norm_rms_epsilon", null, "missing", "layer_norm_rms_epsilon"],
  ["llama.attention.layer_norm_rms_epsilon", f32(-1), "corrupt", "must be more than 0"],
  ["llama.attention.layer_norm_rms_epsilon", f32(Number.NaN), "corrupt", "is NaN; it must be a finite number"],
  ["llama.rope.freq_base", f32(0), "corrupt", `"llama.rope.freq_base" is 0`],
  ["llama.rope.dimension_count", u32(8), "corrupt", "is 8; it must be even and the head size, 16"],
  ["llama.rope.scaling.type", string("yarn"), "unsupported_architecture", `by the method "yarn"`],
  ["llama.rope.scaling.factor", f32(-2), "corrupt", `"llama.rope.scaling.factor" is -2`],
  ["llama.rope.scaling.attn_factor", f32(1.2), "unsupported_architecture", "rope attention scaling"],
  ["llama.expert_count", u32(8), "unsupported_architecture", `a mixture of experts ("llama.expert_count" is 8)`],
  ["llama.attention.causal", bool(false), "unsupported_architecture", "non-causal attention"],
  ["llama.residual_scale", f32(0.5), "unsupported_architecture", "scaled residuals"],
  ["tokenizer.ggml.tokens", strings(["a"]), "corrupt", `has 1 tokens, but "token_embd.weight" has 313 rows`],
];

describe("what is refused", () => {
  it.each(KEYS)("%s = %j", async (key, value, kind, part) => {
    const error = await failure({ metadata: { [key]: value } });
    expect(error.message).toContain(part);
    expect(error.kind).toBe(kind);
  });

  it("a tensor that is missing", async () => {
    const error = await failure({}, ({ tensors }) => {
      tensors.splice(
        tensors.findIndex(({ name }) => name === "blk.1.ffn_up.weight"),
        1,
      );
    });
    expect(error).toMatchObject({ kind: "missing", message: expect.stringContaining(`"blk.1.ffn_up.weight"`) });
  });

  it("a tensor that nothing explains, such as a bias", async () => {
    const error = await failure({}, ({ tensors }) => {
      tensors.push({ name: "blk.0.attn_q.bias", type: "F32", dims: [64], offsetBytes: 0, sizeBytes: 256 });
    });
    expect(error.kind).toBe("unsupported_architecture");
    expect(error.message).toContain(`1 tensors that the llama architecture does not explain: "blk.0.attn_q.bias"`);
  });

  it("rope factors of the wrong length", async () => {
    const error = await failure({ ropeFreqs: true }, ({ tensors }) => {
      tensors.find(({ name }) => name === "rope_freqs.weight")!.dims = [7];
    });
    expect(error.message).toContain(`"rope_freqs.weight" has the dimensions 7; they must be 8`);
  });

  it("a norm that is not F32", async () => {
    const error = await failure({}, ({ tensors }) => {
      tensors.find(({ name }) => name === "output_norm.weight")!.type = "F16";
    });
    expect(error).toMatchObject({ kind: "unsupported_type", message: expect.stringContaining("vectors must be F32") });
  });

  it("quantized blocks of another version, but not plain floats of one", async () => {
    const metadata = { "general.quantization_version": u32(1) };
    const error = await failure({ weightType: "Q8_0", metadata });
    expect(error).toMatchObject({
      kind: "unsupported_type",
      message: expect.stringContaining("quantization version 1"),
    });
    expect((await spec({ metadata })).architecture).toBe("llama");
  });
});
