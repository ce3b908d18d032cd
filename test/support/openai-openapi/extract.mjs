/**
 * Makes `schemas.json` of OpenAI's published document: `node extract.mjs path/to/openapi.json`. Takes the schemas of the
 * bodies that we read or write and all that they refer to, without their prose. Where 3.1 would say "or null" and the
 * document still says `nullable: true`, it is rewritten, since a validator refuses or overlooks it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOTS = [
  "CreateChatCompletionRequest",
  "CreateChatCompletionResponse",
  "CreateChatCompletionStreamResponse",
  "CreateCompletionRequest",
  "CreateCompletionResponse",
  "CreateEmbeddingRequest",
  "CreateEmbeddingResponse",
  "ListModelsResponse",
  "Model",
  "ErrorResponse",
  "CreateResponse",
  "Response",
  "ResponseCreatedEvent",
  "ResponseInProgressEvent",
  "ResponseOutputItemAddedEvent",
  "ResponseOutputItemDoneEvent",
  "ResponseContentPartAddedEvent",
  "ResponseContentPartDoneEvent",
  "ResponseTextDeltaEvent",
  "ResponseTextDoneEvent",
  "ResponseReasoningTextDeltaEvent",
  "ResponseReasoningTextDoneEvent",
  "ResponseFunctionCallArgumentsDeltaEvent",
  "ResponseFunctionCallArgumentsDoneEvent",
  "ResponseCompletedEvent",
  "ResponseIncompleteEvent",
  "ResponseFailedEvent",
  "ResponseErrorEvent",
];

const PREFIX = "#/components/schemas/";
const PROSE = new Set(["description", "title", "example", "examples", "deprecated", "externalDocs"]);

const all = JSON.parse(readFileSync(process.argv[2], "utf8")).components.schemas;
const taken = {};
for (const root of ROOTS) take(root);
const lines = Object.keys(taken)
  .sort()
  .map((name) => `${JSON.stringify(name)}:${JSON.stringify(taken[name])}`);
writeFileSync(join(import.meta.dirname, "schemas.json"), `{\n${lines.join(",\n")}\n}\n`);

function take(name) {
  if (taken[name] !== undefined) return;
  taken[name] = {};
  taken[name] = schemaOf(all[name]);
}

function schemaOf(node) {
  if (Array.isArray(node)) return node.map(schemaOf);
  if (typeof node !== "object" || node === null) return node;
  if (typeof node.$ref === "string") take(node.$ref.slice(PREFIX.length));
  const entries = Object.entries(node)
    // A property may have the name of a keyword.
    .filter(([key, value]) => !key.startsWith("x-") && !(PROSE.has(key) && typeof value !== "object"))
    .map(([key, value]) => [key, key === "default" || key === "enum" ? value : schemaOf(value)]);
  const { nullable, ...schema } = Object.fromEntries(entries);
  if (nullable === undefined) return schema;
  return nullable === true ? { anyOf: [schema, { type: "null" }] } : { ...schema, nullable };
}
