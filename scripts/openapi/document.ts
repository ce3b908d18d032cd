/**
 * The OpenAPI 3.1 document of the Worker. Request bodies are the validation schemas themselves, written as JSON Schema of
 * what goes in; decoders read some fields beyond them, so objects are open. Made at build time: the Worker carries none of it.
 */
import { z } from "zod";
import { VERSION } from "../../src/protocol/version.ts";
import { COMPONENTS } from "./components.ts";
import type { Answer, Dialect, Operation } from "./operation.ts";
import { OPERATIONS } from "./operations.ts";

type Json = Record<string, unknown>;

const ERROR_COMPONENTS: Record<Dialect, string> = { openai: "OpenaiError", ollama: "OllamaError", tgi: "TgiError" };

export function openApiDocument(): Json {
  const paths: Record<string, Json> = {};
  for (const operation of OPERATIONS) {
    const path = openApiPath(operation.path);
    paths[path] = { ...paths[path], [operation.method]: operationObject(operation) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "runnel",
      version: VERSION,
      description:
        "Chat tokens streamed from the edge: OpenAI's, Ollama's and TGI's APIs, and conversations that are kept.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }],
    tags: [...new Set(OPERATIONS.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer", description: "An API key." } },
      schemas: { ...COMPONENTS, ...requestSchemas() },
    },
  };
}

/** `/v1/models/:id{.+}` → `/v1/models/{id}` */
export function openApiPath(path: string): string {
  return path.replaceAll(/:(\w+)(\{[^}]*\})?/g, "{$1}");
}

function requestSchemas(): Record<string, Json> {
  const asked = OPERATIONS.flatMap(({ id, request }) => (request === undefined ? [] : [{ id, request }]));
  return Object.fromEntries(
    asked.map(({ id, request }) => {
      const { $schema: _dialect, ...schema } = z.toJSONSchema(request, { io: "input" });
      return [requestName(id), schema];
    }),
  );
}

function requestName(id: string): string {
  return `${id[0]?.toUpperCase()}${id.slice(1)}Request`;
}

function operationObject({ id, tag, summary, request, isBodyOptional, isOpen, ...rest }: Operation): Json {
  const names = [...openApiPath(rest.path).matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
  const inPath = names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } }));
  const others = (rest.parameters ?? []).map((parameter) => ({ ...parameter, schema: { type: "string" } }));
  const answers = Object.entries(rest.answers).map(([status, answer]) => [status, answerObject(answer)]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(inPath.length + others.length === 0 ? {} : { parameters: [...inPath, ...others] }),
    ...(request === undefined
      ? {}
      : {
          requestBody: {
            required: isBodyOptional !== true,
            content: { "application/json": { schema: ref(requestName(id)) } },
          },
        }),
    responses: { ...Object.fromEntries(answers), ...errorAnswers(ERROR_COMPONENTS[rest.dialect]) },
    ...(isOpen === true ? { security: [] } : {}),
  };
}

function errorAnswers(component: string): Json {
  const content = { "application/json": component };
  return {
    "4XX": answerObject({ description: "Refused: the message names the field, the value and the limit.", content }),
    "5XX": answerObject({ description: "A fault of the server or of an origin.", content }),
  };
}

function answerObject({ description, content }: Answer): Json {
  if (content === undefined) return { description };
  const media = Object.entries(content).map(([type, component]) => [
    type,
    { schema: component === null ? { type: "string" } : ref(component) },
  ]);
  return { description, content: Object.fromEntries(media) };
}

function ref(component: string): Json {
  return { $ref: `#/components/schemas/${component}` };
}
