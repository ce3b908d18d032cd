/** Every operation of the Worker. A test compares the list with the routes of the code, in both directions. */
import { ollamaChatRequestSchema } from "../../src/protocol/ollama/chat-request.ts";
import { embeddingsSchema, embedSchema } from "../../src/protocol/ollama/embed.ts";
import { ollamaGenerateRequestSchema } from "../../src/protocol/ollama/generate-request.ts";
import { showSchema } from "../../src/protocol/ollama/models.ts";
import { chatRequestSchema } from "../../src/protocol/openai/chat-request.ts";
import { completionRequestSchema } from "../../src/protocol/openai/completion-request.ts";
import { embeddingsRequestSchema } from "../../src/protocol/openai/embeddings.ts";
import { detokenizeSchema, tokenizeSchema } from "../../src/protocol/openai/tokenize.ts";
import { responseRequestSchema } from "../../src/protocol/responses/request.ts";
import {
  sessionForkSchema,
  sessionInitSchema,
  sessionMessageSchema,
  sessionRegenerateSchema,
} from "../../src/protocol/sessions.ts";
import { tgiRequestSchema } from "../../src/protocol/tgi/generate-request.ts";
import type { Answer, Operation } from "./operation.ts";

const SSE = "text/event-stream";
const NDJSON = "application/x-ndjson";

const json = (description: string, component: string): Answer => ({
  description,
  content: { "application/json": component },
});
const streamed = (description: string, component: string, media: string): Answer => ({
  description: `${description}; events where the request asks for a stream`,
  content: { "application/json": component, [media]: null },
});
const plain = (description: string, media: string): Answer => ({ description, content: { [media]: null } });

const LAST_EVENT = [
  { name: "last-event-id", in: "header", description: "The last event that the client has; those after it follow." },
  { name: "last_event_id", in: "query", description: "The same, for clients that cannot set a header." },
] as const;

type Short = Omit<Operation, "tag" | "dialect">;
const tagged = (tag: string, dialect: Operation["dialect"], list: readonly Short[]): Operation[] =>
  list.map((operation) => ({ ...operation, tag, dialect }));

const OPENAI = tagged("OpenAI", "openai", [
  {
    path: "/v1/chat/completions",
    method: "post",
    id: "createChatCompletion",
    summary: "Answers a chat",
    request: chatRequestSchema(),
    answers: { 200: streamed("The answer", "ChatCompletion", SSE) },
  },
  {
    path: "/v1/completions",
    method: "post",
    id: "createCompletion",
    summary: "Continues a text",
    request: completionRequestSchema(),
    answers: { 200: streamed("The continuation", "Completion", SSE) },
  },
  {
    path: "/v1/responses",
    method: "post",
    id: "createResponse",
    summary: "Answers items or text, and keeps the response",
    request: responseRequestSchema(),
    answers: { 200: streamed("The response", "Response", SSE) },
  },
  {
    path: "/v1/responses/:id",
    method: "get",
    id: "getResponse",
    summary: "A response that is kept",
    answers: { 200: json("The response", "Response") },
  },
  {
    path: "/v1/responses/:id",
    method: "delete",
    id: "deleteResponse",
    summary: "Deletes a response",
    answers: { 200: json("It is gone", "Deleted") },
  },
  {
    path: "/v1/embeddings",
    method: "post",
    id: "createEmbeddings",
    summary: "Vectors of texts",
    request: embeddingsRequestSchema(),
    answers: { 200: json("The vectors", "Embeddings") },
  },
  {
    path: "/v1/models",
    method: "get",
    id: "listModels",
    summary: "Models that the caller may use",
    answers: { 200: json("The models", "ModelList") },
  },
  {
    path: "/v1/models/:id{.+}",
    method: "get",
    id: "getModel",
    summary: "One model; its id may hold slashes",
    answers: { 200: json("The model", "Model") },
  },
]);

const SESSIONS = tagged("Sessions", "openai", [
  {
    path: "/v1/sessions",
    method: "get",
    id: "listSessions",
    summary: "The caller's sessions",
    answers: { 200: json("The sessions", "SessionList") },
  },
  {
    path: "/v1/sessions",
    method: "post",
    id: "createSession",
    summary: "Begins a conversation that the server keeps",
    request: sessionInitSchema,
    isBodyOptional: true,
    answers: { 201: json("The session", "Session") },
  },
  {
    path: "/v1/sessions/:id",
    method: "get",
    id: "getSession",
    summary: "A session with its history",
    answers: { 200: json("The session", "Session") },
  },
  {
    path: "/v1/sessions/:id",
    method: "delete",
    id: "deleteSession",
    summary: "Deletes a session",
    answers: { 200: json("It is gone", "Deleted") },
  },
  {
    path: "/v1/sessions/:id/messages",
    method: "post",
    id: "sendMessage",
    summary: "Sends a message and answers it",
    request: sessionMessageSchema(),
    answers: { 200: streamed("The answer", "ChatCompletion", SSE) },
  },
  {
    path: "/v1/sessions/:id/messages/:message",
    method: "put",
    id: "editMessage",
    summary: "Replaces a message, drops what came after it, answers",
    request: sessionMessageSchema(),
    answers: { 200: streamed("The answer", "ChatCompletion", SSE) },
  },
  {
    path: "/v1/sessions/:id/regenerate",
    method: "post",
    id: "regenerateAnswer",
    summary: "Another answer in the place of the last one",
    request: sessionRegenerateSchema(),
    isBodyOptional: true,
    answers: { 200: streamed("The answer", "ChatCompletion", SSE) },
  },
  {
    path: "/v1/sessions/:id/stream",
    method: "get",
    id: "resumeStream",
    summary: "The last turn's answer, from its beginning or an event on",
    parameters: LAST_EVENT,
    answers: { 200: plain("Events", SSE), 204: { description: "Nothing more is to come" } },
  },
  {
    path: "/v1/sessions/:id/ws",
    method: "get",
    id: "connectSocket",
    summary: "A WebSocket with every turn of the session",
    parameters: LAST_EVENT,
    answers: { 101: { description: "The socket is open" } },
  },
  {
    path: "/v1/sessions/:id/fork",
    method: "post",
    id: "forkSession",
    summary: "A new session with the history up to a message",
    request: sessionForkSchema,
    isBodyOptional: true,
    answers: { 201: json("The new session", "Session") },
  },
  {
    path: "/v1/sessions/:id/stop",
    method: "post",
    id: "stopAnswer",
    summary: "Ends the running answer and keeps what there is of it",
    answers: { 200: json("Whether one was running", "Stopped") },
  },
]);

const refused = (path: string, method: "post" | "delete", id: string): Short => ({
  path,
  method,
  id,
  summary: "Not supported: models are not managed over this API",
  answers: { 501: json("Always", "OllamaError") },
});

const OLLAMA = tagged("Ollama", "ollama", [
  {
    path: "/api/chat",
    method: "post",
    id: "ollamaChat",
    summary: "Answers a chat, streamed unless `stream` is false",
    request: ollamaChatRequestSchema(),
    answers: { 200: streamed("The answer", "OllamaAnswer", NDJSON) },
  },
  {
    path: "/api/generate",
    method: "post",
    id: "ollamaGenerate",
    summary: "Answers a prompt, streamed unless `stream` is false",
    request: ollamaGenerateRequestSchema(),
    answers: { 200: streamed("The answer", "OllamaAnswer", NDJSON) },
  },
  {
    path: "/api/embed",
    method: "post",
    id: "ollamaEmbed",
    summary: "Vectors of texts",
    request: embedSchema(),
    answers: { 200: json("The vectors", "OllamaVectors") },
  },
  {
    path: "/api/embeddings",
    method: "post",
    id: "ollamaEmbeddings",
    summary: "The vector of one text, in the older shape",
    request: embeddingsSchema(),
    answers: { 200: json("The vector", "OllamaVector") },
  },
  {
    path: "/api/show",
    method: "post",
    id: "ollamaShow",
    summary: "One model",
    request: showSchema(),
    answers: { 200: json("The model", "Details") },
  },
  {
    path: "/api/tags",
    method: "get",
    id: "ollamaTags",
    summary: "Models that the caller may use",
    answers: { 200: json("The models", "OllamaModels") },
  },
  {
    path: "/api/ps",
    method: "get",
    id: "ollamaPs",
    summary: "Models that are loaded",
    answers: { 200: json("The models", "OllamaModels") },
  },
  {
    path: "/api/version",
    method: "get",
    id: "ollamaVersion",
    summary: "The version of Ollama whose API this is",
    answers: { 200: json("The version", "Version") },
  },
  refused("/api/pull", "post", "ollamaPull"),
  refused("/api/push", "post", "ollamaPush"),
  refused("/api/create", "post", "ollamaCreate"),
  refused("/api/copy", "post", "ollamaCopy"),
  refused("/api/delete", "delete", "ollamaDelete"),
  refused("/api/blobs/:digest", "post", "ollamaPutBlob"),
]);

const TGI = tagged("TGI", "tgi", [
  {
    path: "/generate",
    method: "post",
    id: "tgiGenerate",
    summary: "Continues a text",
    request: tgiRequestSchema(),
    answers: { 200: json("The continuation", "TgiAnswer") },
  },
  {
    path: "/generate_stream",
    method: "post",
    id: "tgiGenerateStream",
    summary: "Continues a text, streamed",
    request: tgiRequestSchema(),
    answers: { 200: plain("Events", SSE) },
  },
  {
    path: "/",
    method: "get",
    id: "ollamaAlive",
    summary: "The chat page at the edge; one line of text at an origin",
    isOpen: true,
    answers: { 200: { description: "Something is here", content: { "text/html": null, "text/plain": null } } },
  },
  {
    path: "/",
    method: "post",
    id: "tgiCompat",
    summary: "Both of TGI's ways, as `stream` says; at an origin only",
    request: tgiRequestSchema(),
    answers: { 200: streamed("The continuation", "TgiAnswers", SSE) },
  },
  {
    path: "/info",
    method: "get",
    id: "tgiInfo",
    summary: "The first model and its bounds",
    answers: { 200: json("The model", "Details") },
  },
]);

const TOKENS = tagged("Tokens", "openai", [
  {
    path: "/tokenize",
    method: "post",
    id: "tokenize",
    summary: "Tokens of a text or a chat",
    request: tokenizeSchema(),
    answers: { 200: json("The tokens", "Tokens") },
  },
  {
    path: "/detokenize",
    method: "post",
    id: "detokenize",
    summary: "The text of tokens",
    request: detokenizeSchema(),
    answers: { 200: json("The text", "Detokenized") },
  },
  {
    path: "/version",
    method: "get",
    id: "version",
    summary: "The version of this server",
    answers: { 200: json("The version", "Version") },
  },
]);

const OPERATOR = tagged("Operator", "openai", [
  {
    path: "/health",
    method: "get",
    id: "health",
    summary: "The process lives",
    isOpen: true,
    answers: { 200: json("It does", "Status") },
  },
  {
    path: "/ready",
    method: "get",
    id: "ready",
    summary: "The default model can answer now",
    isOpen: true,
    answers: { 200: json("It can", "Status"), 503: json("It cannot yet", "Status") },
  },
  {
    path: "/metrics",
    method: "get",
    id: "metrics",
    summary: "Prometheus's text",
    answers: { 200: plain("The metrics", "text/plain") },
  },
  {
    path: "/metrics/history",
    method: "get",
    id: "metricsHistory",
    summary: "The numbers of the last minutes, for the dashboard",
    answers: { 200: json("The numbers", "Details") },
  },
]);

export const OPERATIONS: readonly Operation[] = [...OPENAI, ...SESSIONS, ...OLLAMA, ...TGI, ...TOKENS, ...OPERATOR];
