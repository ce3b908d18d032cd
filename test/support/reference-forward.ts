/**
 * The forward pass in float64 over dequantized weights: the number an engine's logits are compared with. Written to be
 * read beside the papers (RMSNorm: Zhang and Sennrich 2019; LayerNorm: Ba et al. 2016; RoPE: Su et al. 2021; GQA: Ainslie
 * et al. 2023; SwiGLU: Shazeer 2020; GELU: Hendrycks and Gimpel 2016; local attention: Beltagy et al. 2020), one position
 * after the other, with no cache, batch or block to go wrong.
 */
import type { GgufTensorInfo } from "../../src/model/gguf.ts";
import type { LayerTensors, ModelSpec, RoleTensor, RopeSpec } from "../../src/model/model-spec.ts";
import type { Weights } from "./tiny-model.ts";

/** Keys and values of one layer, one entry for each position. */
interface LayerCache {
  keys: Float64Array[];
  values: Float64Array[];
}

/** Runs tokens one by one and keeps the keys and values of those before. */
export class ReferenceModel {
  readonly #spec: ModelSpec;
  readonly #weights: Weights;
  readonly #caches: LayerCache[];
  #position = 0;

  constructor(spec: ModelSpec, weights: Weights) {
    this.#spec = spec;
    this.#weights = weights;
    this.#caches = Array.from({ length: spec.numLayers }, () => ({ keys: [], values: [] }));
  }

  /** @returns logits [vocabSize] after this token */
  next(token: number): Float64Array {
    const { output, tokenEmbedding } = this.#spec.tensors;
    return this.#project(output ?? tokenEmbedding, null, this.nextHidden(token));
  }

  /** @returns what the LM head reads after this token [dModel] */
  nextHidden(token: number): Float64Array {
    const { dModel, tensors, embeddingScale } = this.#spec;
    const row = (matrix: RoleTensor, index: number) => this.#of(matrix).subarray(index * dModel, (index + 1) * dModel);
    const x = Float64Array.from(row(tensors.tokenEmbedding, token), (value) => value * embeddingScale);
    if (tensors.positionEmbedding !== null) add(x, row(tensors.positionEmbedding, this.#position));
    tensors.layers.forEach((layer, i) => {
      add(x, this.#attention(i, x));
      add(x, this.#feedForward(layer, x));
    });
    this.#position++;
    return this.#norm(x, tensors.outputNorm, tensors.outputNormBias);
  }

  #attention(index: number, x: Float64Array): Float64Array {
    const { headDim, numHeads, numKvHeads, attentionScale, slidingWindow } = this.#spec;
    const layer = this.#spec.tensors.layers[index]!;
    const cache = this.#caches[index]!;
    const local = slidingWindow?.isLocal[index] ? slidingWindow : null;
    const rope = local === null ? this.#spec.rope : local.rope;
    const normed = this.#norm(x, layer.attnNorm, layer.attnNormBias);
    const place = (heads: Float64Array, norm: RoleTensor | null) => {
      if (norm !== null) this.#normHeads(heads, norm);
      return rope === null ? heads : this.#rotate(heads, rope);
    };
    const q = place(this.#project(layer.attnQ, layer.attnQBias, normed), layer.attnQNorm);
    cache.keys.push(place(this.#project(layer.attnK, layer.attnKBias, normed), layer.attnKNorm));
    cache.values.push(this.#project(layer.attnV, layer.attnVBias, normed));

    const firstKey = local === null ? 0 : Math.max(0, this.#position + 1 - local.numTokens);
    const out = new Float64Array(numHeads * headDim);
    for (let head = 0; head < numHeads; head++) {
      const from = head * headDim;
      const kvFrom = Math.floor(head / (numHeads / numKvHeads)) * headDim;
      const scores = cache.keys.slice(firstKey).map((key) => {
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += q[from + i]! * key[kvFrom + i]!;
        return dot * attentionScale;
      });
      softmax(scores).forEach((weight, key) => {
        const value = cache.values[firstKey + key]!;
        for (let i = 0; i < headDim; i++) out[from + i]! += weight * value[kvFrom + i]!;
      });
    }
    return this.#postNorm(this.#project(layer.attnOutput, layer.attnOutputBias, out), layer.attnPostNorm);
  }

  #feedForward(layer: LayerTensors, x: Float64Array): Float64Array {
    const activate = ACTIVATIONS[this.#spec.activation];
    const normed = this.#norm(x, layer.ffnNorm, layer.ffnNormBias);
    const up = this.#project(layer.ffnUp, layer.ffnUpBias, normed);
    const gate = layer.ffnGate === null ? null : this.#project(layer.ffnGate, null, normed);
    const inner = up.map((value, i) => (gate === null ? activate(value) : activate(gate[i]!) * value));
    return this.#postNorm(this.#project(layer.ffnDown, layer.ffnDownBias, inner), layer.ffnPostNorm);
  }

  #norm(x: Float64Array, weight: RoleTensor, bias: RoleTensor | null): Float64Array {
    const { norm, normEpsilon } = this.#spec;
    if (norm === "rms") return rmsNorm(x, this.#of(weight), normEpsilon);
    return layerNorm(x, this.#of(weight), this.#of(bias!), normEpsilon);
  }

  #postNorm(x: Float64Array, weight: RoleTensor | null): Float64Array {
    return weight === null ? x : rmsNorm(x, this.#of(weight), this.#spec.normEpsilon);
  }

  #normHeads(heads: Float64Array, weight: RoleTensor): void {
    const { headDim, normEpsilon } = this.#spec;
    for (let from = 0; from < heads.length; from += headDim) {
      heads.set(rmsNorm(heads.subarray(from, from + headDim), this.#of(weight), normEpsilon), from);
    }
  }

  /** matrix · x + bias */
  #project(matrix: RoleTensor, bias: RoleTensor | null, x: Float64Array): Float64Array {
    const out = matVec(this.#of(matrix), x);
    if (bias !== null) add(out, this.#of(bias));
    return out;
  }

  /** Rotates every head of `heads` in place by the position. The factors are those of a short context. */
  #rotate(heads: Float64Array, rope: RopeSpec): Float64Array {
    const factors = rope.freqFactors === null ? null : this.#stored(rope.freqFactors);
    return rotate(heads, this.#spec.headDim, this.#position, rope, factors);
  }

  /** Rows of a stored tensor; of a vector, elements. */
  #of({ stored, firstRow, dims }: RoleTensor): Float32Array {
    const rowLength = dims.length === 1 ? 1 : dims[0]!;
    const numRows = dims.at(-1)!;
    return this.#stored(stored).subarray(firstRow * rowLength, (firstRow + numRows) * rowLength);
  }

  #stored({ name }: GgufTensorInfo): Float32Array {
    return this.#weights.get(name)!;
  }
}

const ACTIVATIONS: Record<ModelSpec["activation"], (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

/** @returns logits after each of `tokens`: [tokens.length][vocabSize] */
export function referenceLogits(spec: ModelSpec, weights: Weights, tokens: ArrayLike<number>): Float64Array[] {
  const model = new ReferenceModel(spec, weights);
  return Array.from(tokens, (token) => model.next(token));
}

/** What the LM head reads at every position. */
export function referenceHidden(spec: ModelSpec, weights: Weights, tokens: ArrayLike<number>): Float64Array[] {
  const model = new ReferenceModel(spec, weights);
  return Array.from(tokens, (token) => model.nextHidden(token));
}

/** @returns the `numTokens` argmax tokens after `prompt` and, for each, how far the second best was behind */
export function referenceGreedy(
  spec: ModelSpec,
  weights: Weights,
  prompt: ArrayLike<number>,
  numTokens: number,
): { tokens: number[]; gaps: number[] } {
  const model = new ReferenceModel(spec, weights);
  let logits = new Float64Array(0) as Float64Array;
  for (const token of Array.from(prompt)) logits = model.next(token);
  const tokens: number[] = [];
  const gaps: number[] = [];
  for (;;) {
    const best = argmax(logits);
    const second = logits.reduce(
      (max, value, i) => (i !== best && value > max ? value : max),
      Number.NEGATIVE_INFINITY,
    );
    tokens.push(best);
    gaps.push(logits[best]! - second);
    if (tokens.length === numTokens) return { tokens, gaps };
    logits = model.next(best);
  }
}

/** The lowest id wins a tie. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** [out, in] · [in] → [out], rows one after another. */
function matVec(matrix: Float32Array, x: Float64Array): Float64Array {
  const inner = x.length;
  const out = new Float64Array(matrix.length / inner);
  for (let row = 0; row < out.length; row++) {
    let sum = 0;
    const from = row * inner;
    for (let i = 0; i < inner; i++) sum += matrix[from + i]! * x[i]!;
    out[row] = sum;
  }
  return out;
}

function rmsNorm(x: Float64Array, weight: Float32Array, epsilon: number): Float64Array {
  const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  const scale = 1 / Math.sqrt(meanSquare + epsilon);
  return x.map((value, i) => value * scale * weight[i]!);
}

function layerNorm(x: Float64Array, weight: Float32Array, bias: Float32Array, epsilon: number): Float64Array {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  const scale = 1 / Math.sqrt(variance + epsilon);
  return x.map((value, i) => (value - mean) * scale * weight[i]! + bias[i]!);
}

/** Rotates every head of `x` in place by its position. */
function rotate(
  x: Float64Array,
  headDim: number,
  position: number,
  rope: RopeSpec,
  factors: Float32Array | null,
): Float64Array {
  const half = rope.numDims / 2;
  for (let from = 0; from < x.length; from += headDim) {
    for (let i = 0; i < half; i++) {
      const frequency = rope.base ** ((-2 * i) / rope.numDims) / (factors === null ? 1 : factors[i]!);
      const angle = (position / rope.linearScale) * frequency;
      const [a, b] = rope.pairing === "interleaved" ? [from + 2 * i, from + 2 * i + 1] : [from + i, from + half + i];
      const [xa, xb] = [x[a]!, x[b]!];
      const [cos, sin] = [rope.magnitude * Math.cos(angle), rope.magnitude * Math.sin(angle)];
      x[a] = xa * cos - xb * sin;
      x[b] = xa * sin + xb * cos;
    }
  }
  return x;
}

function softmax(scores: number[]): number[] {
  const max = Math.max(...scores);
  const exps = scores.map((score) => Math.exp(score - max));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((e) => e / sum);
}

function add(x: Float64Array, y: ArrayLike<number>): void {
  for (let i = 0; i < x.length; i++) x[i]! += y[i]!;
}
