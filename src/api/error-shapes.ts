/**
 * Which paths speak which API, so that every refusal there, also of a wrong method or an unknown path, is one that its
 * clients can read.
 */
import type { ApiError } from "../protocol/errors.ts";
import { ollamaErrorBody } from "../protocol/ollama/error-body.ts";
import { errorBody } from "../protocol/openai/error-body.ts";
import { tgiErrorBody, tgiStatus } from "../protocol/tgi/error-body.ts";

export interface ErrorShape {
  body(error: ApiError): object;
  status(error: ApiError): number;
}

const OPENAI: ErrorShape = { body: errorBody, status: ({ status }) => status };
const OLLAMA: ErrorShape = { body: ollamaErrorBody, status: ({ status }) => status };
const TGI: ErrorShape = { body: tgiErrorBody, status: tgiStatus };

const TGI_PATHS: readonly string[] = ["/", "/generate", "/generate_stream", "/info"];

export function errorShapeOf(path: string): ErrorShape {
  if (path === "/api" || path.startsWith("/api/")) return OLLAMA;
  return TGI_PATHS.includes(path) ? TGI : OPENAI;
}
