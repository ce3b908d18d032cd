/**
 * GGUF header → ModelSpec. Everything a backend relies on is checked here, by name and value: keys, head counts, the
 * shape and type of every tensor, and that nothing in the file is left unexplained. After this, a backend does not
 * look at metadata again.
 */
import { ARCHITECTURES, type ArchitectureTable, type TensorRule, type Widths } from "./architectures.ts";
import { contradiction, ModelError } from "./errors.ts";
import { GGML_BLOCK, type GgufHeader } from "./gguf.ts";
import { Metadata } from "./metadata.ts";
import type { LayerTensors, ModelSpec, RopeSpec } from "./model-spec.ts";
import { TensorFinder } from "./tensor-finder.ts";

/** The only layout of quantized blocks in use since 2023; `general.quantization_version` says so. */
const QUANTIZATION_VERSION = 2;

const ROPE_FREQS = "rope_freqs.weight";

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

  const key = (name: string) => `${architecture}.${name}`;
  const required = (name: string, min = 1) => meta.required(key(name), meta.integer(key(name), min));
  const numLayers = required("block_count");
  const dModel = required("embedding_length");
  const ffnDim = required("feed_forward_length");
  const heads = readHeads(meta, key, dModel, sourceName);
  const finder = new TensorFinder(header, sourceName);
  const vocabSize = readVocabSize(header, finder, table, sourceName);
  const widths: Widths = {
    dModel,
    ffnDim,
    vocabSize,
    qDim: heads.numHeads * heads.headDim,
    kvDim: heads.numKvHeads * heads.headDim,
  };
  const output = finder.optional(table.output, "", widths);
  const spec: ModelSpec = {
    architecture,
    numLayers,
    dModel,
    ...heads,
    ffnDim,
    vocabSize,
    contextLength: readContextLength(meta, key),
    normEpsilon: readPositive(meta, key("attention.layer_norm_rms_epsilon"), null, sourceName),
    rope: readRope(meta, key, heads.headDim, table, finder, sourceName),
    activation: "silu",
    tiedHead: output === null,
    tensors: {
      tokenEmbedding: finder.required(table.tokenEmbedding, "", widths),
      outputNorm: finder.required(table.outputNorm, "", widths),
      output,
      layers: readLayers(numLayers, table, finder, widths),
    },
  };
  finder.refuseUnused(architecture);
  return spec;
}

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

type Key = (name: string) => string;

function readHeads(meta: Metadata, key: Key, dModel: number, sourceName: string) {
  const numHeads = meta.required(key("attention.head_count"), meta.integer(key("attention.head_count"), 1));
  const numKvHeads = meta.integer(key("attention.head_count_kv"), 1) ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw contradiction(
      sourceName,
      `"${key("attention.head_count_kv")}" is ${numKvHeads}, which does not divide the ${numHeads} heads`,
    );
  }
  const keyLength = meta.integer(key("attention.key_length"), 1);
  if (keyLength === null && dModel % numHeads !== 0) {
    throw contradiction(sourceName, `"${key("embedding_length")}" is ${dModel}, which ${numHeads} heads do not divide`);
  }
  const headDim = keyLength ?? dModel / numHeads;
  const valueDim = meta.integer(key("attention.value_length"), 1) ?? headDim;
  if (valueDim !== headDim) {
    throw new ModelError(
      "unsupported_architecture",
      `${sourceName} has heads of ${headDim} for keys and ${valueDim} for values; they must be the same size.`,
    );
  }
  return { numHeads, numKvHeads, headDim };
}

/** Inside its window a sliding-window model computes full attention, so the window is as far as it may go. */
function readContextLength(meta: Metadata, key: Key): number {
  const contextLength = meta.required(key("context_length"), meta.integer(key("context_length"), 1));
  const window = meta.integer(key("attention.sliding_window"), 0) ?? 0;
  return window === 0 ? contextLength : Math.min(window, contextLength);
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

function readRope(
  meta: Metadata,
  key: Key,
  headDim: number,
  table: ArchitectureTable,
  finder: TensorFinder,
  sourceName: string,
): RopeSpec {
  const numDims = meta.integer(key("rope.dimension_count"), 1) ?? headDim;
  if (numDims !== headDim || numDims % 2 !== 0) {
    throw contradiction(
      sourceName,
      `"${key("rope.dimension_count")}" is ${numDims}; it must be even and the head size, ${headDim}`,
    );
  }
  return {
    base: readPositive(meta, key("rope.freq_base"), table.ropeBaseDefault, sourceName),
    numDims,
    pairing: table.ropePairing,
    linearScale: readLinearScale(meta, key, sourceName),
    freqFactors: finder.vector(ROPE_FREQS, numDims / 2),
  };
}

function readLinearScale(meta: Metadata, key: Key, sourceName: string): number {
  const type = meta.string(key("rope.scaling.type")) ?? "linear";
  if (type === "none") return 1;
  if (type !== "linear") {
    throw new ModelError(
      "unsupported_architecture",
      `${sourceName} scales rope by the method ${JSON.stringify(type)} ("${key("rope.scaling.type")}"), which is not ` +
        "supported. Supported: none, linear, and the factors of a rope_freqs tensor.",
    );
  }
  // Files from 2023 call the factor rope.scale_linear. Converters write 0 for "not scaled".
  const name = meta.has(key("rope.scaling.factor")) ? "rope.scaling.factor" : "rope.scale_linear";
  return meta.number(key(name)) === 0 ? 1 : readPositive(meta, key(name), 1, sourceName);
}

function readPositive(meta: Metadata, key: string, fallback: number | null, sourceName: string): number {
  const value = meta.required(key, meta.number(key) ?? fallback);
  if (value <= 0) throw contradiction(sourceName, `"${key}" is ${value}; it must be more than 0`);
  return value;
}

function readLayers(numLayers: number, table: ArchitectureTable, finder: TensorFinder, widths: Widths): LayerTensors[] {
  const roles = Object.entries(table.layer) as [keyof LayerTensors, TensorRule][];
  const layers: LayerTensors[] = [];
  for (let i = 0; i < numLayers; i++) {
    const found = roles.map(([role, rule]) => [role, finder.required(rule, `blk.${i}.`, widths)] as const);
    layers.push(Object.fromEntries(found) as unknown as LayerTensors);
  }
  return layers;
}
