/**
 * A request that asks for an answer and nothing else: what a wire format begins with that has no word for most of what
 * others may ask for.
 */
import type { GenerateRequest } from "./generate.ts";

export const PLAIN_REQUEST: Readonly<Omit<GenerateRequest, "requestId" | "model" | "prompts">> = {
  n: 1,
  beams: null,
  sampling: {
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    logitBias: [],
    seed: null,
  },
  maxTokens: null,
  stopStrings: [],
  stopTokenIds: [],
  ignoreEos: false,
  minTokens: 0,
  allowedTokenIds: null,
  badWords: [],
  constraint: null,
  toolChoice: "none",
  parallelToolCalls: true,
  logprobs: null,
  echo: false,
  cacheSalt: "",
  priority: 0,
};
