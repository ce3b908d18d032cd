/** What a reader wants of a run first: how near to the card's memory, and how far from transformers. */
import { round } from "../statistics.ts";
import type { DecodeResult } from "./decode-run.ts";
import type { KernelTime } from "./kernel-section.ts";
import type { SectionResult } from "./section.ts";

export interface GpuSummary {
  /** Share of the memory's speed in decode of one sequence, by model. */
  decodeOfRead: Record<string, number | null>;
  /** The same of decode attention, by kernel. */
  attentionOfRead: Record<string, number | null>;
  /** Output tokens a second of many requests, ÷ each arm of transformers on the same shape. */
  againstTransformers: { model: string; arm: string; times: number }[];
  /** First token of a prompt that is cached: how many times sooner. */
  prefixHitSpeedup: Record<string, number>;
  /** Many requests with two steps in flight: how many times as fast as with one. */
  twoStepsSpeedup: Record<string, number>;
}

export function summarizeGpu(sections: Record<string, SectionResult>): GpuSummary {
  const summary: GpuSummary = {
    decodeOfRead: {},
    attentionOfRead: {},
    againstTransformers: [],
    prefixHitSpeedup: {},
    twoStepsSpeedup: {},
  };
  const kernels = (sections.kernels?.values.times ?? []) as KernelTime[];
  for (const { name, ofRead } of kernels) {
    if (name.startsWith("decode-attention")) summary.attentionOfRead[name] = ofRead;
  }
  for (const [name, { values }] of Object.entries(sections)) {
    const decode = values.decode as DecodeResult[] | undefined;
    if (decode === undefined) continue;
    summary.decodeOfRead[name] = decode[0]?.ofRead ?? null;
    const hit = values.prefixHit as { speedup: number } | undefined;
    if (hit !== undefined) summary.prefixHitSpeedup[name] = hit.speedup;
    const serving = values.serving as { outputTokensPerS: number } | undefined;
    if (serving === undefined) continue;
    const oneStep = values.servingOneStepInFlight as { outputTokensPerS: number } | undefined;
    if (oneStep !== undefined) {
      summary.twoStepsSpeedup[name] = round(serving.outputTokensPerS / oneStep.outputTokensPerS);
    }
    const arms = sections[`transformers ${name.split(" ")[0]}`]?.values ?? {};
    for (const [arm, value] of Object.entries(arms)) {
      const { outputTokensPerS } = value as { outputTokensPerS?: number };
      if (outputTokensPerS === undefined) continue;
      summary.againstTransformers.push({ model: name, arm, times: round(serving.outputTokensPerS / outputTokensPerS) });
    }
  }
  return summary;
}
