/** One record for each request, written when its answer has been sent. */
import type { ApiContext } from "./context.ts";
import type { RequestRecord } from "./log.ts";

/** @param durationMs to the head of the response */
export function requestRecord(context: ApiContext, status: number, durationMs: number): RequestRecord {
  const { keyId } = context.get("caller");
  const prompt = context.get("loggedPrompt");
  return {
    level: "info",
    event: "request",
    requestId: context.get("requestId"),
    method: context.req.method,
    route: context.get("route"),
    status,
    durationMs,
    ...(keyId !== null && { keyId }),
    ...context.get("meter")?.summary,
    ...(prompt !== null && { prompt }),
  };
}
