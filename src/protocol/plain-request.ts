/**
 * A request that asks for an answer and nothing else: what a wire format begins with that has no word for most of what
 * others may ask for.
 */
import type { GenerateRequest } from "./generate.ts";
import { GREEDY } from "./greedy.ts";

export const PLAIN_REQUEST: Readonly<Omit<GenerateRequest, "requestId" | "model" | "prompts">> = {
  n: 1,
  beams: null,
  sampling: GREEDY,
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
