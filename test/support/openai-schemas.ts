/** Validators made of the schemas that OpenAI publishes (`openai-openapi/`), with the holes closed that they have. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import schemas from "./openai-openapi/schemas.json" with { type: "json" };

const ID = "openai";

const ajv = new Ajv2020({ strict: false, logger: false, allErrors: false });
ajv.addSchema({ $id: ID, components: { schemas } });

const validators = new Map<string, ValidateFunction>();

function validatorOf(name: string): ValidateFunction {
  const known = validators.get(name);
  if (known !== undefined) return known;
  if (!Object.hasOwn(schemas, name)) throw new Error(`There is no schema ${name} here.`);
  const validate = ajv.compile({ $ref: `${ID}#/components/schemas/${name}` });
  validators.set(name, validate);
  return validate;
}

/** @returns what is wrong with `value` as a `name`, or null */
export function schemaFault(name: string, value: unknown): string | null {
  const validate = validatorOf(name);
  if (validate(value)) return null;
  return `${name}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value).slice(0, 600)}`;
}

/** Of a streamed event of a response, by its type. */
export const RESPONSE_EVENTS: Record<string, string> = {
  "response.created": "ResponseCreatedEvent",
  "response.in_progress": "ResponseInProgressEvent",
  "response.output_item.added": "ResponseOutputItemAddedEvent",
  "response.output_item.done": "ResponseOutputItemDoneEvent",
  "response.content_part.added": "ResponseContentPartAddedEvent",
  "response.content_part.done": "ResponseContentPartDoneEvent",
  "response.output_text.delta": "ResponseTextDeltaEvent",
  "response.output_text.done": "ResponseTextDoneEvent",
  "response.reasoning_text.delta": "ResponseReasoningTextDeltaEvent",
  "response.reasoning_text.done": "ResponseReasoningTextDoneEvent",
  "response.function_call_arguments.delta": "ResponseFunctionCallArgumentsDeltaEvent",
  "response.function_call_arguments.done": "ResponseFunctionCallArgumentsDoneEvent",
  "response.completed": "ResponseCompletedEvent",
  "response.incomplete": "ResponseIncompleteEvent",
  "response.failed": "ResponseFailedEvent",
  error: "ResponseErrorEvent",
};

/**
 * A streamed chunk of a completion: OpenAI publishes no schema for it, so it is the whole one's, except that a choice has
 * not finished before its last chunk.
 */
export function completionChunkFault(chunk: { choices: { finish_reason: string | null }[] }): string | null {
  const choices = chunk.choices.map((choice) => ({ ...choice, finish_reason: choice.finish_reason ?? "stop" }));
  const { usage, ...rest } = chunk as { usage?: unknown };
  return schemaFault("CreateCompletionResponse", { ...rest, choices, ...(usage != null && { usage }) });
}
