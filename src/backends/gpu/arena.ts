/** The buffers that a step computes in, and the KV pages; sized by the plan, made once. */
import { type KvShape, kvBlockBytes, paddedHead, scaleBlockBytes } from "../../../kernels-gpu/attention/kv-layout.ts";
import { paddedWidth } from "../../../kernels-gpu/lanes.ts";
import { LOGPROB_WORDS } from "../../../kernels-gpu/sampling/logprobs.ts";
import type { ModelSpec } from "../../model/model-spec.ts";
import type { GpuDevice } from "./device.ts";
import type { GpuPlan } from "./options.ts";

/** Keys, values and scales of one layer. Scales are there for f16 pages too, where nothing reads them. */
export interface LayerPages {
  keys: GPUBuffer;
  values: GPUBuffer;
  scales: GPUBuffer;
}

export interface Arena {
  kvShape: KvShape;
  pages: LayerPages[];
  /** Residual stream [token][dModel]. */
  stream: GPUBuffer;
  /** Lane-major rows of dModel: what q/k/v and gate/up read. */
  normed: GPUBuffer;
  qkv: GPUBuffer;
  q: GPUBuffer;
  partials: GPUBuffer;
  maxima: GPUBuffer;
  /** Lane-major rows of all heads, and of the feed-forward layer. */
  attended: GPUBuffer;
  inner: GPUBuffer;
  /** What a block adds to the stream, where a norm comes between. */
  added: GPUBuffer;
  /** Lane-major rows whose logits are wanted. */
  headInput: GPUBuffer;
  logits: GPUBuffer;
  candidates: GPUBuffer;
  tokens: GPUBuffer;
  slots: GPUBuffer;
  logprobs: GPUBuffer;
  kvBytes: number;
  scratchBytes: number;
}

export function makeArena(device: GpuDevice, spec: ModelSpec, plan: GpuPlan): Arena {
  const { numHeads, numKvHeads, headDim, dModel, ffnDim, vocabSize } = spec;
  const { blockTokens, kvPrecision, maxBatchTokens, maxOutputs, maxBatchSequences } = plan;
  const kvShape: KvShape = { numKvHeads, headDim, blockTokens, precision: kvPrecision };
  let kvBytes = 0;
  let scratchBytes = 0;
  const scratch = (label: string, bytes: number) => {
    scratchBytes += bytes;
    return device.buffer(label, bytes);
  };
  const page = (label: string, blockBytes: number) => {
    kvBytes += blockBytes * plan.numBlocks;
    return device.buffer(label, blockBytes * plan.numBlocks);
  };
  const pages = Array.from({ length: spec.numLayers }, (_, i) => ({
    keys: page(`keys ${i}`, kvBlockBytes(kvShape)),
    values: page(`values ${i}`, kvBlockBytes(kvShape)),
    scales: page(`scales ${i}`, scaleBlockBytes(kvShape)),
  }));
  const rows = (label: string, width: number, count = maxBatchTokens) => scratch(label, count * width * 4);
  const attentionWidth = numHeads * headDim;
  return {
    kvShape,
    pages,
    stream: rows("stream", dModel),
    normed: rows("normed", paddedWidth(dModel)),
    qkv: rows("qkv", (numHeads + 2 * numKvHeads) * headDim),
    q: rows("q", numHeads * paddedHead(headDim)),
    partials: rows("partials", numHeads * paddedHead(headDim), plan.maxDecodeItems),
    maxima: rows("maxima", numHeads * 2, plan.maxDecodeItems),
    attended: rows("attended", paddedWidth(attentionWidth)),
    inner: rows("inner", paddedWidth(ffnDim)),
    added: rows("added", dModel),
    headInput: rows("head input", paddedWidth(dModel), maxOutputs),
    logits: rows("logits", vocabSize, maxOutputs),
    candidates: rows("candidates", vocabSize, maxOutputs),
    tokens: rows("tokens", 1, maxOutputs),
    slots: rows("slots", 1, maxBatchSequences),
    logprobs: rows("logprobs", LOGPROB_WORDS, maxOutputs),
    kvBytes,
    scratchBytes,
  };
}
