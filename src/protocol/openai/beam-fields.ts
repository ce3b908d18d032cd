/**
 * Beam search in chat completions and completions, with vLLM's fields: `use_beam_search`, `n` (or `best_of`) beams,
 * `length_penalty`; and `early_stopping` of its earlier versions and of transformers. Without `use_beam_search` the last
 * two ask for nothing.
 *
 * A search draws nothing: temperature, top_p, top_k, min_p and seed have no effect, as in vLLM. What would change the
 * logits or the end of an answer in a way that the search does not know is refused; vLLM ignores it.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { BeamParams } from "../generate.ts";
import { BEAM_WIDTH_MAX, LENGTH_PENALTY_ABS_MAX } from "../limits.ts";
import type { GenerationFields } from "./generation-fields.ts";

export const beamShape = {
  use_beam_search: z.boolean().nullish(),
  /** Beams that are searched with, where more than the `n` that are answered. Without a search it may repeat `n`. */
  best_of: z.int().min(0).nullish(),
  /** Power of the length that a sum of logprobs is divided by; 1 = their mean. */
  length_penalty: z.number().min(-LENGTH_PENALTY_ABS_MAX).max(LENGTH_PENALTY_ABS_MAX).nullish(),
  /** true = end with the first `best_of` complete answers; otherwise when no better one can come. */
  early_stopping: z.union([z.boolean(), z.literal("never")]).nullish(),
};

type BeamFields = z.infer<z.ZodObject<typeof beamShape>> & GenerationFields;

/** @returns null where nothing is searched for */
export function beamsOf(fields: BeamFields, n: number): BeamParams | null {
  const width = fields.best_of ?? n;
  if (fields.use_beam_search !== true) {
    if (width === n) return null;
    throw invalidRequest(
      `'best_of' is ${width}, but without "use_beam_search": true only best_of = n (here ${n}) is supported. Leave it out.`,
      "best_of",
      "unsupported_parameter",
    );
  }
  if (fields.stream === true) {
    throw invalidRequest(
      "'stream' is true, but beam search knows its answer only at the end. Set \"stream\": false.",
      "stream",
    );
  }
  if (width < n) throw invalidRequest(`'best_of' must be at least n (here ${n}), but is ${width}.`, "best_of");
  if (width > BEAM_WIDTH_MAX) {
    const param = fields.best_of == null ? "n" : "best_of";
    throw invalidRequest(`'${param}' must be at most ${BEAM_WIDTH_MAX} with beam search, but is ${width}.`, param);
  }
  if ((fields.max_completion_tokens ?? fields.max_tokens) === 0) {
    throw invalidRequest("'max_tokens' must be at least 1 with beam search, but is 0.", "max_tokens");
  }
  for (const [field, isNeutral] of neutrals(fields)) {
    if (isNeutral) continue;
    throw invalidRequest(
      `'${field}' is not supported together with "use_beam_search": true. Leave it out.`,
      field,
      "unsupported_parameter",
    );
  }
  return { width, lengthPenalty: fields.length_penalty ?? 1, stopsEarly: fields.early_stopping === true };
}

function neutrals(fields: BeamFields): [field: string, isNeutral: boolean][] {
  return [
    ["stop", fields.stop == null || fields.stop.length === 0],
    ["logit_bias", Object.keys(fields.logit_bias ?? {}).length === 0],
    ["repetition_penalty", (fields.repetition_penalty ?? 1) === 1],
    ["presence_penalty", (fields.presence_penalty ?? 0) === 0],
    ["min_tokens", (fields.min_tokens ?? 0) === 0],
    ["allowed_token_ids", fields.allowed_token_ids == null],
    ["bad_words", fields.bad_words == null || fields.bad_words.length === 0],
    ["frequency_penalty", (fields.frequency_penalty ?? 0) === 0],
  ];
}
