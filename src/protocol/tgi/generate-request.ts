/**
 * Request body of TGI's POST /generate, /generate_stream and / (TGI's OpenAPI document, "GenerateRequest"). The inputs
 * are the prompt itself, without a chat template. Whether tokens are drawn follows TGI: where `do_sample` or anything
 * that would shape the distribution asks for it, else the likeliest is taken.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { Constraint, GenerateRequest, SamplingParams } from "../generate.ts";
import { objectOf } from "../json-values.ts";
import { lazily } from "../lazily.ts";
import {
  MAX_TOKENS_MAX,
  MODEL_NAME_CHARS_MAX,
  PATTERN_CHARS_MAX,
  PENALTY_ABS_MAX,
  REPETITION_PENALTY_MAX,
  SEED_ABS_MAX,
  STOP_STRING_CHARS_MAX,
  STOP_STRINGS_MAX,
  TEMPERATURE_MAX,
  TEXT_CHARS_MAX,
  TOKEN_ID_MAX,
  TOP_LOGPROBS_MAX,
} from "../limits.ts";
import { boundedConstraint } from "../openai/constraint-fields.ts";
import { JsonBounds } from "../openai/json-bounds.ts";
import { checkCount, quote, validate, validateObject } from "../openai/validate.ts";
import { PLAIN_REQUEST } from "../plain-request.ts";
import { type RefusedField, refuseFields } from "../refused-fields.ts";
import type { TgiFrame } from "./answer.ts";

const modelNameSchema = lazily(() => z.string().min(1).max(MODEL_NAME_CHARS_MAX).nullish());

export const parametersSchema = lazily(() =>
  z.object({
    do_sample: z.boolean().nullish(),
    temperature: z.number().gt(0).max(TEMPERATURE_MAX).nullish(),
    top_k: z.int().min(1).max(TOKEN_ID_MAX).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    repetition_penalty: z.number().gt(0).max(REPETITION_PENALTY_MAX).nullish(),
    frequency_penalty: z.number().min(-PENALTY_ABS_MAX).max(PENALTY_ABS_MAX).nullish(),
    seed: z.number().refine(Number.isInteger, "must be an integer").min(0).max(SEED_ABS_MAX).nullish(),
    /** Absent: whatever the context leaves. */
    max_new_tokens: z.int().min(1).max(MAX_TOKENS_MAX).nullish(),
    stop: z.array(z.string().min(1).max(STOP_STRING_CHARS_MAX)).max(STOP_STRINGS_MAX).nullish(),
    return_full_text: z.boolean().nullish(),
    details: z.boolean().nullish(),
    /** The prompt's tokens among the details; not streamed. */
    decoder_input_details: z.boolean().nullish(),
    top_n_tokens: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
    grammar: z.object({ type: z.enum(["json", "json_schema", "regex"]), value: z.unknown() }).nullish(),
    /** A LoRA adapter, which is a model with a name of its own here. */
    adapter_id: modelNameSchema(),
  }),
);

const fieldsSchema = lazily(() =>
  z.object({
    inputs: z.string().min(1).max(TEXT_CHARS_MAX),
    stream: z.boolean().nullish(),
    /** Not TGI's, which has one model only: absent = the first one. */
    model: modelNameSchema(),
  }),
);

/** The whole body, for documentation. */
export const tgiRequestSchema = lazily(() => fieldsSchema().extend({ parameters: parametersSchema().nullish() }));

const patternSchema = lazily(() => z.string().max(PATTERN_CHARS_MAX));
const GRAMMAR_PATH = ["parameters", "grammar", "value"];

const REFUSED: readonly RefusedField[] = [
  { field: "best_of", neutral: [1] },
  { field: "typical_p", neutral: [1] },
  { field: "truncate" },
  { field: "watermark", neutral: [false] },
];

export interface TgiRequest {
  /** null = the first model of the list. */
  model: string | null;
  generate: Omit<GenerateRequest, "model">;
  stream: boolean;
  frame: TgiFrame;
}

/** @param stream null = the body says it */
export function decodeTgiRequest(body: unknown, requestId: string, stream: boolean | null): TgiRequest {
  const raw = validateObject(body);
  const parameters = parametersOf(raw.parameters);
  const { inputs, model, ...fields } = validate(fieldsSchema(), raw);
  const isStream = stream ?? fields.stream ?? false;
  const wantsPrompt = parameters.decoder_input_details === true;
  if (wantsPrompt && isStream) {
    throw invalidRequest(
      "'parameters.decoder_input_details' is true, but a stream tells nothing of the prompt. Set it to false.",
      "parameters.decoder_input_details",
    );
  }
  const wantsDetails = parameters.details === true || wantsPrompt;
  return {
    model: parameters.adapter_id ?? model ?? null,
    generate: {
      ...PLAIN_REQUEST,
      requestId,
      prompts: [{ kind: "text", text: inputs }],
      sampling: samplingOf(parameters),
      maxTokens: parameters.max_new_tokens ?? null,
      stopStrings: parameters.stop ?? [],
      constraint: constraintOf(parameters.grammar),
      // A stream is one of tokens, each with its logprob.
      logprobs: isStream || wantsDetails ? (parameters.top_n_tokens ?? 0) : null,
      echo: wantsPrompt,
    },
    stream: isStream,
    frame: {
      inputs,
      returnsInputs: parameters.return_full_text === true,
      wantsDetails,
      wantsPrompt,
      wantsTop: (parameters.top_n_tokens ?? 0) > 0,
      seed: parameters.seed ?? null,
    },
  };
}

type Parameters = z.infer<ReturnType<typeof parametersSchema>>;

function parametersOf(value: unknown): Parameters {
  if (value == null) return {};
  const raw = validate(z.looseObject({}), value, ["parameters"]);
  refuseFields(raw, REFUSED, "parameters");
  checkCount(raw.stop, STOP_STRINGS_MAX, ["parameters", "stop"]);
  return validate(parametersSchema(), raw, ["parameters"]);
}

function samplingOf(parameters: Parameters): SamplingParams {
  const { temperature, top_k, top_p } = parameters;
  const shapes = (temperature ?? 1) !== 1 || top_k != null || (top_p ?? 1) < 1;
  const draws = parameters.do_sample === true || shapes;
  return {
    ...PLAIN_REQUEST.sampling,
    temperature: draws ? (temperature ?? 1) : 0,
    topK: top_k ?? 0,
    topP: top_p ?? 1,
    repetitionPenalty: parameters.repetition_penalty ?? 1,
    frequencyPenalty: parameters.frequency_penalty ?? 0,
    seed: parameters.seed ?? null,
  };
}

/** "json" has a schema, too; "json_schema" may wrap it, as {name, schema}. */
function constraintOf(grammar: Parameters["grammar"]): Constraint | null {
  if (grammar == null) return null;
  const { type, value } = grammar;
  const wrong = (what: string) =>
    invalidRequest(
      `'parameters.grammar.value' must be ${what} where its type is "${type}", but is ${quote(value)}.`,
      "parameters.grammar.value",
    );
  if (type === "regex") {
    if (typeof value !== "string" || value === "") throw wrong("a pattern");
    return { kind: "regex", pattern: validate(patternSchema(), value, GRAMMAR_PATH) };
  }
  const object = objectOf(value);
  const schema = type === "json_schema" ? (objectOf(object?.schema) ?? objectOf(object?.value) ?? object) : object;
  if (schema === null) throw wrong("a JSON Schema");
  return boundedConstraint({ kind: "schema", schema }, GRAMMAR_PATH, new JsonBounds());
}
