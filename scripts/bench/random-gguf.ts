/**
 * Models with random weights, for measuring speed and memory where no weights may be downloaded: a llama-architecture
 * GGUF of a known shape and quantization, the same bytes for the same seed. They talk nonsense at full speed.
 */
import { GGML_BLOCK, type GgmlTypeName } from "../../src/model/gguf.ts";
import { bool, f32, i32s, string, strings, u32, type WriterTensor, writeGguf } from "../../test/support/gguf-writer.ts";
import { uniformSource } from "../../test/support/random.ts";
import { dummyVocabulary } from "./dummy-vocabulary.ts";
import { type MatrixRole, type MixName, type ModelShape, matrixType, SHAPES, type ShapeName } from "./gguf-shapes.ts";
import { randomBlocks } from "./random-blocks.ts";

export interface RandomModel {
  shape: ShapeName;
  mix: MixName;
  seed: number;
}

/** GGUF's default. */
const ALIGNMENT_BYTES = 32;

/** llama.cpp's LLAMA_FTYPE, which names the quantization of a whole file. */
const FILE_TYPE: Record<MixName, number> = { f16: 1, q4_0: 2, q8_0: 7, q4_k_m: 15 };

export function randomGguf(model: RandomModel): Uint8Array<ArrayBuffer> {
  const uniform = uniformSource(model.seed);
  return writeModel(model, (type, numElements, deviation) => randomBlocks(type, numElements, deviation, uniform));
}

/** The header of such a file alone: its tensors are listed where they would lie. For models too large to be written. */
export function randomGgufHeader(model: RandomModel): Uint8Array<ArrayBuffer> {
  return writeModel(model, null);
}

type MakeWeights = (type: GgmlTypeName, numElements: number, deviation: number) => Uint8Array;

/** @param make null = no weights */
function writeModel({ shape: shapeName, mix }: RandomModel, make: MakeWeights | null): Uint8Array<ArrayBuffer> {
  const shape: ModelShape = SHAPES[shapeName];
  const headDim = shape.dModel / shape.numHeads;
  const vocabulary = dummyVocabulary(shape.vocabSize);
  return writeGguf({
    metadata: [
      ["general.architecture", string("llama")],
      ["general.name", string(`random ${shapeName} ${mix}`)],
      ["general.file_type", u32(FILE_TYPE[mix])],
      ["llama.block_count", u32(shape.numLayers)],
      ["llama.context_length", u32(shape.contextLength)],
      ["llama.embedding_length", u32(shape.dModel)],
      ["llama.feed_forward_length", u32(shape.ffnDim)],
      ["llama.attention.head_count", u32(shape.numHeads)],
      ["llama.attention.head_count_kv", u32(shape.numKvHeads)],
      ["llama.attention.layer_norm_rms_epsilon", f32(1e-5)],
      ["llama.rope.freq_base", f32(shape.ropeBase)],
      ["llama.rope.dimension_count", u32(headDim)],
      ["llama.vocab_size", u32(shape.vocabSize)],
      ["tokenizer.ggml.model", string("gpt2")],
      ["tokenizer.ggml.pre", string("smollm")],
      ["tokenizer.ggml.tokens", strings(vocabulary.tokens)],
      ["tokenizer.ggml.token_type", i32s(vocabulary.types)],
      ["tokenizer.ggml.merges", strings(vocabulary.merges)],
      ["tokenizer.ggml.bos_token_id", u32(vocabulary.endOfTextId)],
      ["tokenizer.ggml.eos_token_id", u32(vocabulary.endOfTextId)],
      ["tokenizer.ggml.add_bos_token", bool(false)],
    ],
    tensors: make === null ? placedTensors(shape, mix) : randomTensors(shape, mix, make),
  });
}

/** In the order of llama.cpp's converters; the LM head is tied to the embeddings. */
function randomTensors(shape: ModelShape, mix: MixName, make: MakeWeights): WriterTensor[] {
  const { dModel, ffnDim, numLayers } = shape;
  const kvDim = (dModel / shape.numHeads) * shape.numKvHeads;
  const matrix = (prefix: string, role: MatrixRole, layer: number, cols: number, rows: number): WriterTensor => {
    const type = matrixType(mix, role, layer, numLayers, cols);
    const data = make(type, cols * rows, 1 / Math.sqrt(cols));
    return { name: `${prefix}${role}.weight`, type, dims: [cols, rows], data };
  };
  const ones = (name: string): WriterTensor => {
    const data = new Uint8Array(new Float32Array(dModel).fill(1).buffer);
    return { name: `${name}.weight`, type: "F32", dims: [dModel], data };
  };
  const tensors = [matrix("", "token_embd", 0, dModel, shape.vocabSize)];
  for (let layer = 0; layer < numLayers; layer++) {
    const prefix = `blk.${layer}.`;
    tensors.push(
      ones(`${prefix}attn_norm`),
      matrix(prefix, "attn_q", layer, dModel, dModel),
      matrix(prefix, "attn_k", layer, dModel, kvDim),
      matrix(prefix, "attn_v", layer, dModel, kvDim),
      matrix(prefix, "attn_output", layer, dModel, dModel),
      ones(`${prefix}ffn_norm`),
      matrix(prefix, "ffn_gate", layer, dModel, ffnDim),
      matrix(prefix, "ffn_up", layer, dModel, ffnDim),
      matrix(prefix, "ffn_down", layer, ffnDim, dModel),
    );
  }
  return [...tensors, ones("output_norm")];
}

/** Without data, at the offsets that they have with it. */
function placedTensors(shape: ModelShape, mix: MixName): WriterTensor[] {
  let offsetBytes = 0;
  return randomTensors(shape, mix, () => new Uint8Array(0)).map((tensor) => {
    const type = tensor.type as GgmlTypeName;
    const placed = { ...tensor, data: new Uint8Array(0), offsetBytes };
    const numElements = tensor.dims.reduce((product, dim) => product * dim, 1);
    const sizeBytes = (numElements / GGML_BLOCK[type].elements) * GGML_BLOCK[type].bytes;
    offsetBytes = Math.ceil((offsetBytes + sizeBytes) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return placed;
  });
}

/** "Q5_0×166 Q4_K×16 …": matrices of each type, most frequent first. */
export function typeCounts(tensors: readonly { type: GgmlTypeName; dims: readonly number[] }[]): string {
  const counts = new Map<GgmlTypeName, number>();
  for (const { type, dims } of tensors) if (dims.length > 1) counts.set(type, (counts.get(type) ?? 0) + 1);
  const sorted = [...counts].sort(([a, m], [b, n]) => n - m || GGML_BLOCK[a].bytes - GGML_BLOCK[b].bytes);
  return sorted.map(([type, count]) => `${type}×${count}`).join(" ");
}
