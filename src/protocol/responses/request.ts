/**
 * Request body of POST /v1/responses (OpenAI API reference, "Create a model response"; sampling fields beyond OpenAI's
 * are those of chat completions). What it answers is complete only with the earlier responses that it goes on from.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { Constraint, GenerateRequest, Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import {
  IDENTIFIER_CHARS_MAX,
  MAX_TOKENS_MAX,
  METADATA_ENTRIES_MAX,
  METADATA_VALUE_CHARS_MAX,
  MODEL_NAME_CHARS_MAX,
  RESPONSE_INCLUDES_MAX,
  RESPONSE_ITEM_ID_CHARS_MAX,
  TEXT_CHARS_MAX,
  TOP_LOGPROBS_MAX,
} from "../limits.ts";
import { boundedConstraint, decodeConstraint } from "../openai/constraint-fields.ts";
import { checkFieldCounts, generationOf, generationShape } from "../openai/generation-fields.ts";
import { JsonBounds } from "../openai/json-bounds.ts";
import { decodeTemplateArguments, templateShape } from "../openai/template-fields.ts";
import type { ToolUse } from "../openai/tool-fields.ts";
import { refuseUnsupported } from "../openai/unsupported.ts";
import { checkCount, quote, validate, validateObject } from "../openai/validate.ts";
import { parseResponseId, type ResponseAddress } from "./ids.ts";
import { decodeInput, type InputItem, type ItemReference, inputItemSchema } from "./items.ts";
import type { ResponseEcho } from "./response-body.ts";
import { decodeResponseTools, type ResponseToolUse, responseToolShape } from "./tools.ts";

const LOGPROBS_INCLUDE = "message.output_text.logprobs";

const formatSchema = lazily(() =>
  z.union([
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json_object") }),
    z.object({
      type: z.literal("json_schema"),
      name: z.string().min(1).max(IDENTIFIER_CHARS_MAX),
      description: z.string().max(TEXT_CHARS_MAX).nullish(),
      schema: z.looseObject({}),
      strict: z.boolean().nullish(),
    }),
  ]),
);

const responseFieldsSchema = lazily(() => {
  const { max_tokens: _old, max_completion_tokens: _new, stream_options: _options, ...samplingShape } = generationShape;
  return z.object({
    ...samplingShape,
    model: z.string().min(1).max(MODEL_NAME_CHARS_MAX),
    instructions: z.string().max(TEXT_CHARS_MAX).nullish(),
    /** OpenAI wants at least 16; there is no reason for it here. */
    max_output_tokens: z.int().min(1).max(MAX_TOKENS_MAX).nullish(),
    top_logprobs: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
    include: z.array(z.string().max(IDENTIFIER_CHARS_MAX)).max(RESPONSE_INCLUDES_MAX).nullish(),
    text: z
      .object({ format: formatSchema().nullish(), verbosity: z.string().max(IDENTIFIER_CHARS_MAX).nullish() })
      .nullish(),
    /** Kept for GET and for those that go on from it; absent = where the host keeps responses at all. */
    store: z.boolean().nullish(),
    previous_response_id: z.string().max(RESPONSE_ITEM_ID_CHARS_MAX).nullish(),
    /** What to do where the conversation does not fit the context: refuse, or leave its oldest turns out. */
    truncation: z.enum(["disabled", "auto"]).nullish(),
    metadata: z.record(z.string().max(IDENTIFIER_CHARS_MAX), z.string().max(METADATA_VALUE_CHARS_MAX)).nullish(),
    reasoning: z
      .object({
        effort: z.string().max(IDENTIFIER_CHARS_MAX).nullish(),
        summary: z.string().max(IDENTIFIER_CHARS_MAX).nullish(),
      })
      .nullish(),
    safety_identifier: z.string().max(IDENTIFIER_CHARS_MAX).nullish(),
  });
});

/** The whole body, for documentation. */
export const responseRequestSchema = lazily(() =>
  responseFieldsSchema().extend({
    ...responseToolShape(),
    ...templateShape,
    input: z.union([z.string().max(TEXT_CHARS_MAX), z.array(inputItemSchema())]),
  }),
);

type ChatPrompt = Extract<Prompt, { kind: "chat" }>;
type ResponseFields = z.infer<ReturnType<typeof responseFieldsSchema>>;

export interface ResponseWireRequest {
  /** All but the prompt. */
  generate: Omit<GenerateRequest, "prompts">;
  /** Of the prompt, besides its messages. */
  extras: Pick<ChatPrompt, "tools" | "templateArguments">;
  instructions: string | null;
  items: (InputItem | ItemReference)[];
  previous: ResponseAddress | null;
  /** null = as the host does. */
  store: boolean | null;
  stream: boolean;
  truncates: boolean;
  promptCacheKey: string | null;
  /** All but `store`, which the host decides. */
  echo: Omit<ResponseEcho, "store">;
}

export function decodeResponseRequest(body: unknown, requestId: string): ResponseWireRequest {
  const raw = validateObject(body);
  refuseUnsupported(raw, "responses");
  checkFieldCounts(raw);
  checkCount(raw.metadata, METADATA_ENTRIES_MAX, ["metadata"]);
  checkCount(raw.include, RESPONSE_INCLUDES_MAX, ["include"]);
  const fields = validate(responseFieldsSchema(), raw);
  const bounds = new JsonBounds();
  const { echo, ...use } = decodeResponseTools(raw, bounds);
  const items = decodeInput(raw.input, bounds);
  return {
    generate: {
      requestId,
      model: fields.model,
      n: 1,
      beams: null,
      ...generationOf({ ...fields, max_tokens: fields.max_output_tokens }, null),
      constraint: constraintOf(raw, fields, bounds),
      toolChoice: use.toolChoice,
      parallelToolCalls: use.parallelToolCalls,
      logprobs: logprobsOf(fields),
      echo: false,
    },
    extras: extrasOf(raw, fields, use, bounds),
    instructions: fields.instructions ?? null,
    items,
    previous: previousOf(fields.previous_response_id ?? null),
    store: fields.store ?? null,
    stream: fields.stream ?? false,
    truncates: fields.truncation === "auto",
    promptCacheKey: fields.prompt_cache_key ?? null,
    echo: { ...echoOf(fields), ...echo },
  };
}

function previousOf(id: string | null): ResponseAddress | null {
  if (id === null) return null;
  const address = parseResponseId(id);
  if (address !== null) return address;
  throw invalidRequest(
    `'previous_response_id' must be the id of a response of this server, but is ${quote(id)}.`,
    "previous_response_id",
    "previous_response_not_found",
  );
}

/** OpenAI's field, or one of those that vLLM and llama.cpp have for it. */
function constraintOf(raw: Record<string, unknown>, { text }: ResponseFields, bounds: JsonBounds): Constraint | null {
  const other = decodeConstraint({ ...raw, response_format: null }, bounds);
  const format = text?.format;
  if (format == null || format.type === "text") return other;
  if (other !== null) {
    throw invalidRequest("'text.format' says what the answer must match, and so does another field.", "text.format");
  }
  if (format.type === "json_object") return { kind: "json" };
  return boundedConstraint({ kind: "schema", schema: format.schema }, ["text", "format", "schema"], bounds);
}

/** `reasoning.effort` is what `reasoning_effort` is in a chat. */
function extrasOf(
  raw: Record<string, unknown>,
  { reasoning }: ResponseFields,
  { tools }: ToolUse,
  bounds: JsonBounds,
): ResponseWireRequest["extras"] {
  const effort = reasoning?.effort || null;
  const templateArguments = decodeTemplateArguments({ ...raw, reasoning_effort: effort }, bounds);
  return {
    ...(tools.length > 0 && { tools }),
    ...(Object.keys(templateArguments).length > 0 && { templateArguments }),
  };
}

function logprobsOf({ include, top_logprobs }: ResponseFields): number | null {
  if (include?.includes(LOGPROBS_INCLUDE)) return top_logprobs ?? 0;
  return top_logprobs == null || top_logprobs === 0 ? null : top_logprobs;
}

function echoOf(fields: ResponseFields): Omit<ResponseWireRequest["echo"], keyof ResponseToolUse["echo"]> {
  const { user, prompt_cache_key, safety_identifier } = fields;
  const format = fields.text?.format ?? { type: "text" };
  return {
    model: fields.model,
    instructions: fields.instructions ?? null,
    previous_response_id: fields.previous_response_id ?? null,
    max_output_tokens: fields.max_output_tokens ?? null,
    temperature: fields.temperature ?? 1,
    top_p: fields.top_p ?? 1,
    top_logprobs: fields.top_logprobs ?? 0,
    text: { format, ...(fields.text?.verbosity && { verbosity: fields.text.verbosity }) },
    reasoning: { effort: fields.reasoning?.effort ?? null, summary: fields.reasoning?.summary ?? null },
    truncation: fields.truncation ?? "disabled",
    metadata: fields.metadata ?? {},
    ...(user != null && { user }),
    ...(prompt_cache_key != null && { prompt_cache_key }),
    ...(safety_identifier != null && { safety_identifier }),
  };
}
