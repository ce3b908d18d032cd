/** Keys and tensors of rotary positions → RopeSpec. */
import type { RopeTable } from "./architectures.ts";
import { contradiction, ModelError } from "./errors.ts";
import type { GgufTensorInfo } from "./gguf.ts";
import type { ModelKeys } from "./metadata.ts";
import type { RopeSpec } from "./model-spec.ts";
import type { TensorFinder } from "./tensor-finder.ts";

const FACTORS = "rope_freqs.weight";
const SHORT_FACTORS = "rope_factors_short.weight";
const LONG_FACTORS = "rope_factors_long.weight";

export function readRope(
  keys: ModelKeys,
  table: RopeTable,
  model: { headDim: number; contextLength: number },
  finder: TensorFinder,
): RopeSpec {
  const numDims = readNumDims(keys, table, model.headDim);
  const factors = (name: string): GgufTensorInfo | null =>
    finder.has(name) ? finder.vector(name, numDims / 2).stored : null;
  const rope: RopeSpec = {
    base: keys.positive("rope.freq_base", table.baseDefault),
    numDims,
    pairing: table.pairing,
    linearScale: readLinearScale(keys, table),
    magnitude: 1,
    freqFactors: factors(FACTORS),
    longFactors: null,
  };
  if (!table.mayHaveLongFactors) return rope;
  const [short, long] = [factors(SHORT_FACTORS), factors(LONG_FACTORS)];
  if ((short === null) !== (long === null)) {
    const missing = short === null ? SHORT_FACTORS : LONG_FACTORS;
    throw new ModelError("missing", `${keys.sourceName} has no tensor "${missing}", but its counterpart.`);
  }
  const magnitude = keys.positive("rope.scaling.attn_factor", 1);
  if (short === null || long === null) return { ...rope, magnitude };
  const beyondTokens = keys.integer("rope.scaling.original_context_length", 1) ?? model.contextLength;
  return { ...rope, magnitude, freqFactors: short, longFactors: { tensor: long, beyondTokens } };
}

function readNumDims(keys: ModelKeys, table: RopeTable, headDim: number): number {
  const numDims = keys.integer("rope.dimension_count", 1) ?? headDim;
  const fits = table.mayBePartial ? numDims <= headDim : numDims === headDim;
  if (fits && numDims % 2 === 0) return numDims;
  throw contradiction(
    keys.sourceName,
    `"${keys.name("rope.dimension_count")}" is ${numDims}; it must be even and ` +
      `${table.mayBePartial ? "at most" : ""} the head size, ${headDim}`.trimStart(),
  );
}

function readLinearScale(keys: ModelKeys, table: RopeTable): number {
  const type = keys.string("rope.scaling.type") ?? "linear";
  // LongRoPE is its tensors of factors; the factor beside them is only their origin.
  if (type === "none" || (type === "longrope" && table.mayHaveLongFactors)) return 1;
  if (type !== "linear") {
    throw new ModelError(
      "unsupported_architecture",
      `${keys.sourceName} scales rope by the method ${JSON.stringify(type)} ("${keys.name("rope.scaling.type")}"), ` +
        "which is not supported. Supported: none, linear, and the factors of a rope_freqs tensor.",
    );
  }
  // Files from 2023 call the factor rope.scale_linear. Converters write 0 for "not scaled".
  const name = keys.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  return keys.number(name) === 0 ? 1 : keys.positive(name, 1);
}
