/**
 * GGUF header → ModelSpec. Everything a backend relies on is checked here, by name and value: keys, head counts, the
 * shape and type of every tensor, and that nothing in the file is left unexplained. After this, a backend does not
 * look at metadata again.
 */
import { ARCHITECTURES, type ArchitectureTable, type Widths } from "./architectures.ts";
import { contradiction, ModelError } from "./errors.ts";
import { GGML_BLOCK, type GgufHeader } from "./gguf.ts";
import { readLayers } from "./layer-tensors.ts";
import { Metadata, ModelKeys } from "./metadata.ts";
import type { ModelSpec } from "./model-spec.ts";
import { readRope } from "./rope-from-gguf.ts";
import { readSlidingWindow } from "./sliding-window.ts";
import { TensorFinder } from "./tensor-finder.ts";

/** The only layout of quantized blocks in use since 2023; `general.quantization_version` says so. */
const QUANTIZATION_VERSION = 2;

/**
 * @param sourceName for messages
 * @throws ModelError `unsupported_architecture`, `unsupported_type`, `missing` or `corrupt`
 */
export function specFromGguf(header: GgufHeader, sourceName: string): ModelSpec {
  const meta = new Metadata(header, sourceName);
  const architecture = meta.required("general.architecture", meta.string("general.architecture"));
  const table = tableOf(architecture, sourceName);
  checkNeutralKeys(header, architecture, table, sourceName);
  checkQuantizationVersion(header, meta, sourceName);

  const numbers = new ModelKeys(meta, architecture, sourceName);
  const numLayers = numbers.required("block_count");
  const dModel = numbers.required("embedding_length");
  const ffnDim = numbers.required("feed_forward_length");
  const contextLength = numbers.required("context_length");
  const heads = readHeads(numbers, dModel);
  const finder = new TensorFinder(header, sourceName);
  const vocabSize = readVocabSize(header, finder, table, sourceName);
  const widths: Widths = {
    dModel,
    ffnDim,
    vocabSize,
    contextLength,
    headDim: heads.headDim,
    qDim: heads.numHeads * heads.headDim,
    kvDim: heads.numKvHeads * heads.headDim,
  };
  const rope = table.rope === null ? null : readRope(numbers, table.rope, { ...heads, contextLength }, finder);
  const output = finder.optional(table.output, "", widths);
  const whole = { contextLength, numLayers, rope };
  const spec: ModelSpec = {
    architecture,
    numLayers,
    dModel,
    ...heads,
    ffnDim,
    vocabSize,
    contextLength,
    norm: table.norm,
    normEpsilon: numbers.positive(NORM_EPSILON[table.norm], null),
    embeddingScale: table.scalesEmbedding ? Math.sqrt(dModel) : 1,
    attentionScale: 1 / Math.sqrt(heads.headDim),
    rope,
    slidingWindow: readSlidingWindow(numbers, table.window, whole),
    activation: table.activation,
    pooling: header.metadata.get(`${architecture}.pooling_type`) === MEAN_POOLING ? "mean" : "last",
    tiedHead: output === null,
    tensors: {
      tokenEmbedding: finder.required(table.tokenEmbedding, "", widths),
      positionEmbedding: table.positionEmbedding && finder.required(table.positionEmbedding, "", widths),
      outputNorm: finder.required(table.outputNorm, "", widths),
      outputNormBias: table.outputNormBias && finder.required(table.outputNormBias, "", widths),
      output,
      layers: readLayers(numLayers, table, finder, widths),
    },
  };
  finder.refuseUnused(architecture);
  return spec;
}

/** Of llama.cpp's `pooling_type`: 0 none, 1 mean, 2 cls, 3 last. */
const MEAN_POOLING = 1;

const NORM_EPSILON = { rms: "attention.layer_norm_rms_epsilon", layer: "attention.layer_norm_epsilon" } as const;

function tableOf(architecture: string, sourceName: string): ArchitectureTable {
  if (Object.hasOwn(ARCHITECTURES, architecture)) return ARCHITECTURES[architecture]!;
  throw new ModelError(
    "unsupported_architecture",
    `${sourceName} has the architecture ${JSON.stringify(architecture)}, which is not supported. ` +
      `Supported: ${Object.keys(ARCHITECTURES).join(", ")}.`,
  );
}

function checkNeutralKeys(
  header: GgufHeader,
  architecture: string,
  table: ArchitectureTable,
  sourceName: string,
): void {
  for (const { key, neutral, feature } of table.neutralKeys) {
    const value = header.metadata.get(`${architecture}.${key}`);
    if (value === undefined || neutral.includes(value as string)) continue;
    throw new ModelError(
      "unsupported_architecture",
      `${sourceName} uses ${feature} ("${architecture}.${key}" is ${String(value)}), which is not supported.`,
    );
  }
}

function checkQuantizationVersion(header: GgufHeader, meta: Metadata, sourceName: string): void {
  const version = meta.integer("general.quantization_version", 0);
  if (version === null || version === QUANTIZATION_VERSION) return;
  if (header.tensors.every((tensor) => GGML_BLOCK[tensor.type].elements === 1)) return;
  throw new ModelError(
    "unsupported_type",
    `${sourceName} has blocks of quantization version ${version}; version ${QUANTIZATION_VERSION} is read. ` +
      "Quantize the model again.",
  );
}

function readHeads(keys: ModelKeys, dModel: number) {
  const { sourceName } = keys;
  const numHeads = keys.required("attention.head_count");
  const numKvHeads = keys.integer("attention.head_count_kv", 1) ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw contradiction(
      sourceName,
      `"${keys.name("attention.head_count_kv")}" is ${numKvHeads}, which does not divide the ${numHeads} heads`,
    );
  }
  const keyLength = keys.integer("attention.key_length", 1);
  if (keyLength === null && dModel % numHeads !== 0) {
    throw contradiction(
      sourceName,
      `"${keys.name("embedding_length")}" is ${dModel}, which ${numHeads} heads do not divide`,
    );
  }
  const headDim = keyLength ?? dModel / numHeads;
  const valueDim = keys.integer("attention.value_length", 1) ?? headDim;
  if (valueDim !== headDim) {
    throw new ModelError(
      "unsupported_architecture",
      `${sourceName} has heads of ${headDim} for keys and ${valueDim} for values; they must be the same size.`,
    );
  }
  return { numHeads, numKvHeads, headDim };
}

/** Rows of the embedding. A vocabulary in the same file must agree with it, or ids would point past the matrix. */
function readVocabSize(header: GgufHeader, finder: TensorFinder, table: ArchitectureTable, sourceName: string): number {
  const embedding = finder.find(table.tokenEmbedding.name);
  const vocabSize = embedding.dims[1] ?? 1;
  const tokens = header.metadata.get("tokenizer.ggml.tokens");
  if (Array.isArray(tokens) && tokens.length !== vocabSize) {
    throw contradiction(
      sourceName,
      `"tokenizer.ggml.tokens" has ${tokens.length} tokens, but "${embedding.name}" has ${vocabSize} rows`,
    );
  }
  return vocabSize;
}
