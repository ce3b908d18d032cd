/**
 * `options` of Ollama's requests: sampling with Ollama's names and defaults (api/types.go, "DefaultOptions"). What tells
 * Ollama how to use its machine (num_ctx, num_gpu, num_thread …) is ignored, as every unknown option is; what would
 * change the text in a way that is not built is refused. `docs/ollama.md` lists all of them.
 *
 * Penalties look at the whole answer, and `repeat_penalty` at the prompt, too, not at the last 64 tokens.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { GenerateRequest, SamplingParams } from "../generate.ts";
import { lazily } from "../lazily.ts";
import {
  MAX_TOKENS_MAX,
  PENALTY_ABS_MAX,
  REPETITION_PENALTY_MAX,
  SEED_ABS_MAX,
  STOP_STRING_CHARS_MAX,
  STOP_STRINGS_MAX,
  TEMPERATURE_MAX,
  TOKEN_ID_MAX,
} from "../limits.ts";
import { checkCount, validate, validateObject } from "../openai/validate.ts";
import { PLAIN_REQUEST } from "../plain-request.ts";
import { type RefusedField, refuseFields } from "../refused-fields.ts";

export const optionsSchema = lazily(() => {
  const penalty = z.number().min(-PENALTY_ABS_MAX).max(PENALTY_ABS_MAX).nullish();
  const stopString = z.string().min(1).max(STOP_STRING_CHARS_MAX);
  return z.object({
    /** -1 and -2 (and, as in Ollama, 0): whatever the context leaves. */
    num_predict: z.int().min(-2).max(MAX_TOKENS_MAX).nullish(),
    temperature: z.number().min(0).max(TEMPERATURE_MAX).nullish(),
    /** 0 switches it off. */
    top_k: z.int().min(-1).max(TOKEN_ID_MAX).nullish(),
    top_p: z.number().min(0).max(1).nullish(),
    min_p: z.number().min(0).max(1).nullish(),
    /** -1 = any. */
    seed: z.number().refine(Number.isInteger, "must be an integer").min(-SEED_ABS_MAX).max(SEED_ABS_MAX).nullish(),
    stop: z.union([stopString, z.array(stopString).max(STOP_STRINGS_MAX)]).nullish(),
    repeat_penalty: z.number().gt(0).max(REPETITION_PENALTY_MAX).nullish(),
    /** 0 = no `repeat_penalty`; any other window is the whole text here. */
    repeat_last_n: z.int().min(-1).max(MAX_TOKENS_MAX).nullish(),
    presence_penalty: penalty,
    frequency_penalty: penalty,
  });
});

export const REFUSED_OPTIONS: readonly RefusedField[] = [
  { field: "mirostat", neutral: [0] },
  { field: "typical_p", neutral: [1] },
  { field: "tfs_z", neutral: [1] },
  { field: "penalize_newline", neutral: [true] },
];

const DEFAULTS = { temperature: 0.8, topK: 40, topP: 0.9 } as const;

export type SampledBy = Pick<GenerateRequest, "sampling" | "maxTokens" | "stopStrings">;

export function decodeOptions(value: unknown): SampledBy {
  const raw = value == null ? {} : validate(z.looseObject({}), value, ["options"]);
  refuseFields(raw, REFUSED_OPTIONS, "options");
  checkCount(raw.stop, STOP_STRINGS_MAX, ["options", "stop"]);
  const options = validate(optionsSchema(), raw, ["options"]);
  const { num_predict, stop } = options;
  return {
    sampling: samplingOf(options),
    maxTokens: num_predict == null || num_predict <= 0 ? null : num_predict,
    stopStrings: typeof stop === "string" ? [stop] : (stop ?? []),
  };
}

function samplingOf(options: z.infer<ReturnType<typeof optionsSchema>>): SamplingParams {
  const { repeat_last_n, seed } = options;
  const repetitionPenalty = repeat_last_n === 0 ? 1 : (options.repeat_penalty ?? 1);
  if (repetitionPenalty !== 1 && repeat_last_n != null && repeat_last_n > 0) {
    throw invalidRequest(
      `'options.repeat_last_n' is ${repeat_last_n}, but here repeat_penalty looks at the whole text. Set it to -1.`,
      "options.repeat_last_n",
      "unsupported_parameter",
    );
  }
  return {
    ...PLAIN_REQUEST.sampling,
    temperature: options.temperature ?? DEFAULTS.temperature,
    topK: Math.max(options.top_k ?? DEFAULTS.topK, 0),
    topP: options.top_p ?? DEFAULTS.topP,
    minP: options.min_p ?? 0,
    repetitionPenalty,
    presencePenalty: options.presence_penalty ?? 0,
    frequencyPenalty: options.frequency_penalty ?? 0,
    seed: seed == null || seed === -1 ? null : seed,
  };
}

/** Where nothing is sampled: only that it is an object. */
export function checkOptions(value: unknown): void {
  if (value != null) validateObject(value);
}
