/** `ApiError` as Ollama tells it: one sentence. The status says the rest. */
import type { ApiError } from "../errors.ts";

export function ollamaErrorBody({ message }: ApiError): { error: string } {
  return { error: message };
}
