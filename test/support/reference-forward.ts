/**
 * The forward pass in float64 over dequantized weights: the number an engine's logits are compared with. Written to be
 * read beside the papers (RMSNorm: Zhang and Sennrich 2019; RoPE: Su et al. 2021; GQA: Ainslie et al. 2023; SwiGLU:
 * Shazeer 2020), one position after the other, with no cache, batch or block to go wrong.
 */
import type { GgufTensorInfo } from "../../src/model/gguf.ts";
import type { LayerTensors, ModelSpec, RopeSpec } from "../../src/model/model-spec.ts";
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
    const { dModel, tensors } = this.#spec;
    const embedding = this.#of(tensors.tokenEmbedding);
    const x = Float64Array.from(embedding.subarray(token * dModel, (token + 1) * dModel));
    tensors.layers.forEach((layer, i) => {
      add(x, this.#attention(layer, this.#caches[i]!, x));
      add(x, this.#feedForward(layer, x));
    });
    this.#position++;
    const normed = rmsNorm(x, this.#of(tensors.outputNorm), this.#spec.normEpsilon);
    return matVec(this.#of(tensors.output ?? tensors.tokenEmbedding), normed);
  }

  #attention(layer: LayerTensors, cache: LayerCache, x: Float64Array): Float64Array {
    const { headDim, numHeads, numKvHeads, normEpsilon, rope } = this.#spec;
    const normed = rmsNorm(x, this.#of(layer.attnNorm), normEpsilon);
    const factors = rope.freqFactors === null ? null : this.#of(rope.freqFactors);
    const q = rotate(matVec(this.#of(layer.attnQ), normed), headDim, this.#position, rope, factors);
    cache.keys.push(rotate(matVec(this.#of(layer.attnK), normed), headDim, this.#position, rope, factors));
    cache.values.push(matVec(this.#of(layer.attnV), normed));

    const out = new Float64Array(numHeads * headDim);
    for (let head = 0; head < numHeads; head++) {
      const from = head * headDim;
      const kvFrom = Math.floor(head / (numHeads / numKvHeads)) * headDim;
      const scores = cache.keys.map((key) => {
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += q[from + i]! * key[kvFrom + i]!;
        return dot / Math.sqrt(headDim);
      });
      softmax(scores).forEach((weight, position) => {
        const value = cache.values[position]!;
        for (let i = 0; i < headDim; i++) out[from + i]! += weight * value[kvFrom + i]!;
      });
    }
    return matVec(this.#of(layer.attnOutput), out);
  }

  #feedForward(layer: LayerTensors, x: Float64Array): Float64Array {
    const normed = rmsNorm(x, this.#of(layer.ffnNorm), this.#spec.normEpsilon);
    const gate = matVec(this.#of(layer.ffnGate), normed);
    const up = matVec(this.#of(layer.ffnUp), normed);
    return matVec(
      this.#of(layer.ffnDown),
      gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!),
    );
  }

  #of(tensor: GgufTensorInfo): Float32Array {
    return this.#weights.get(tensor.name)!;
  }
}

/** @returns logits after each of `tokens`: [tokens.length][vocabSize] */
export function referenceLogits(spec: ModelSpec, weights: Weights, tokens: ArrayLike<number>): Float64Array[] {
  const model = new ReferenceModel(spec, weights);
  return Array.from(tokens, (token) => model.next(token));
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
      x[a] = xa * Math.cos(angle) - xb * Math.sin(angle);
      x[b] = xa * Math.sin(angle) + xb * Math.cos(angle);
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

function add(x: Float64Array, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i]! += y[i]!;
}
