/** Adapters are read whole or refused, with the tensor, the value and what it must be. */
import { beforeAll, describe, expect, it } from "vitest";
import { readGgufHeader } from "../../../src/model/gguf-reader.ts";
import { LORA_RANK_MAX, loraFromGguf } from "../../../src/model/lora-from-gguf.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { f32, string, type WriterTensor } from "../../support/gguf-writer.ts";
import { type TinyLoraOptions, tinyLoraBytes } from "../../support/tiny-lora.ts";
import { type TinyModel, tinyModel } from "../../support/tiny-model.ts";

let llama: TinyModel;
let phi3: TinyModel;
beforeAll(async () => {
  llama = await tinyModel();
  phi3 = await tinyModel({ architecture: "phi3" });
});

async function read(options: TinyLoraOptions = {}, base = llama, writtenFor = base) {
  const header = await readGgufHeader(memorySource(tinyLoraBytes(writtenFor, options), "lora.gguf"));
  return loraFromGguf(header, "lora.gguf", base.spec);
}

it("finds a pair for every matrix of attention and the feed-forward layers", async () => {
  const pairs = await read({ rank: 4, alpha: 16, type: "F16" });
  expect(pairs.size).toBe(2 * 7);
  expect(pairs.get("blk.1.attn_k.weight")).toMatchObject({
    rank: 4,
    scale: 4,
    a: { name: "blk.1.attn_k.weight.lora_a", type: "F16", dims: [64, 4] },
    b: { name: "blk.1.attn_k.weight.lora_b", type: "F16", dims: [4, 32] },
  });
});

it("scales by 1 where there is no alpha, as llama.cpp does", async () => {
  for (const metadata of [{ "adapter.lora.alpha": null }, { "adapter.lora.alpha": f32(0) }]) {
    const pairs = await read({ rank: 1, adapts: (name) => name === "blk.0.ffn_up.weight", metadata });
    expect([...pairs].map(([name, { scale }]) => [name, scale])).toEqual([["blk.0.ffn_up.weight", 1]]);
  }
});

it("has one pair for a tensor of several roles", async () => {
  const pairs = await read({}, phi3);
  expect(pairs.get("blk.0.attn_qkv.weight")!.b.dims).toEqual([8, 64 + 32 + 32]);
});

const renamed = (from: string, to: string) => (tensors: WriterTensor[]) =>
  tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace(from, to) }));
const without = (name: string) => (tensors: WriterTensor[]) => tensors.filter((tensor) => tensor.name !== name);
const retyped = (tensors: WriterTensor[]) =>
  tensors.map((tensor) => (tensor.dims[0]! % 32 === 0 ? { ...tensor, type: "Q8_0" as const } : tensor));

describe("refuses", () => {
  it.each<[string, TinyLoraOptions, string, string]>([
    [
      "a model",
      { metadata: { "general.type": string("model") } },
      "unfit",
      '"general.type" is "model"; it must be "adapter"',
    ],
    [
      "what says nothing of itself",
      { metadata: { "adapter.type": null } },
      "unfit",
      '"adapter.type" is null; it must be "lora"',
    ],
    [
      "another architecture",
      { metadata: { "general.architecture": string("qwen2") } },
      "unfit",
      `for the architecture "qwen2"; the model's is "llama"`,
    ],
    [
      "an activated LoRA",
      { metadata: { "adapter.alora.invocation_tokens": { type: "array", of: "u32", value: [1] } } },
      "unfit",
      "activated LoRA",
    ],
    [
      "an infinite alpha",
      { metadata: { "adapter.lora.alpha": f32(Number.POSITIVE_INFINITY) } },
      "corrupt",
      "a finite number",
    ],
    [
      "an adapted embedding",
      { tensors: renamed("blk.0.attn_q", "token_embd") },
      "unfit",
      '"token_embd.weight.lora_a" cannot be applied to a llama model of 2 layers',
    ],
    [
      "a layer too many",
      { tensors: renamed("blk.1", "blk.2") },
      "unfit",
      '"blk.2.attn_q.weight.lora_a" cannot be applied',
    ],
    [
      "a norm",
      { tensors: renamed("blk.0.attn_q.weight.lora_a", "blk.0.attn_norm.weight") },
      "unfit",
      '"blk.0.attn_norm.weight"',
    ],
    [
      "half a pair",
      { tensors: without("blk.1.ffn_up.weight.lora_b") },
      "missing",
      '"blk.1.ffn_up.weight.lora_a" without "blk.1.ffn_up.weight.lora_b"',
    ],
    ["nothing", { adapts: () => false }, "missing", "adapts nothing"],
    [
      "a rank over the limit",
      { rank: LORA_RANK_MAX + 1 },
      "unfit",
      `"blk.0.attn_q.weight.lora_a" has the rank ${LORA_RANK_MAX + 1}; at most ${LORA_RANK_MAX}`,
    ],
    [
      "a matrix of another place",
      { tensors: renamed("attn_k.weight", "ffn_down.weight"), adapts: (name) => name === "blk.0.attn_k.weight" },
      "unfit",
      '"blk.0.ffn_down.weight.lora_a" is 64 × 8; for the model\'s matrix of 96 × 64 and the rank 8 it must be 96 × 8',
    ],
    ["blocks", { tensors: retyped }, "unsupported_type", "is Q8_0; adapters must be F32, F16, BF16"],
  ])("%s", async (_, options, kind, message) => {
    const error = await read(options).catch((cause) => cause);
    expect(error).toMatchObject({ name: "ModelError", kind });
    expect(error.message).toContain(message);
    expect(error.message).toMatch(/^lora\.gguf/);
  });

  it("an adapter of a smaller model", async () => {
    const smaller = await tinyModel({ dModel: 32 });
    await expect(read({}, llama, smaller)).rejects.toThrow(
      '"blk.0.attn_q.weight.lora_a" is 32 × 8; for the model\'s matrix of 64 × 64 and the rank 8 it must be 64 × 8',
    );
  });
});
