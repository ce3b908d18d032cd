/** Schemas of what is answered. They name the fields that a client may rely on and leave the others open. */
type Schema = Record<string, unknown>;

const STRING: Schema = { type: "string" };
const INTEGER: Schema = { type: "integer" };
const OBJECT: Schema = { type: "object" };
const BOOLEAN: Schema = { type: "boolean" };
const list = (items: Schema): Schema => ({ type: "array", items });
const numbers = list({ type: "number" });
const optional = (type: string): Schema => ({ type: [type, "null"] });

/** All of the fields are there in every answer. */
function fields(properties: Record<string, Schema>): Schema {
  return { type: "object", properties, required: Object.keys(properties) };
}

const made = { id: STRING, object: STRING, created: INTEGER, model: STRING };
const model = fields({ id: STRING, object: STRING, created: INTEGER, owned_by: STRING });
const error = fields({ message: STRING, type: STRING, param: optional("string"), code: optional("string") });
const tgiAnswer = fields({ generated_text: STRING });

export const COMPONENTS: Record<string, Schema> = {
  ChatCompletion: fields({ ...made, choices: list(OBJECT), usage: OBJECT }),
  Completion: fields({ ...made, choices: list(OBJECT), usage: OBJECT }),
  Response: fields({
    id: STRING,
    object: STRING,
    created_at: { type: "number" },
    status: STRING,
    output: list(OBJECT),
  }),
  Embeddings: fields({ object: STRING, data: list(OBJECT), model: STRING, usage: OBJECT }),
  Model: model,
  ModelList: fields({ object: STRING, data: list(model) }),
  Session: fields({ id: STRING, object: STRING, model: STRING }),
  SessionList: fields({ object: STRING, data: list(OBJECT) }),
  Deleted: fields({ id: STRING, object: STRING, deleted: BOOLEAN }),
  Stopped: fields({ stopped: BOOLEAN }),
  OllamaAnswer: fields({ model: STRING, created_at: STRING, done: BOOLEAN }),
  OllamaVectors: fields({ model: STRING, embeddings: list(numbers) }),
  OllamaVector: fields({ embedding: numbers }),
  OllamaModels: fields({ models: list(OBJECT) }),
  TgiAnswer: tgiAnswer,
  TgiAnswers: list(tgiAnswer),
  Tokens: { anyOf: [OBJECT, list(OBJECT)] },
  Detokenized: fields({ prompt: STRING }),
  Version: fields({ version: STRING }),
  Status: fields({ status: STRING }),
  Details: OBJECT,
  OpenaiError: fields({ error }),
  OllamaError: fields({ error: STRING }),
  TgiError: fields({ error: STRING, error_type: STRING }),
};
