import type { SamplingParams } from "./generate.ts";

/** Every filter and penalty off: the argmax, the cheapest draw there is. */
export const GREEDY: SamplingParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  seed: null,
};
