/** Decoders either give what engines may rely on, or throw an `ApiError` a person can read. Nothing else. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ApiError } from "../../../src/protocol/errors.ts";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { decodeResponseRequest } from "../../../src/protocol/responses/request.ts";
import { decodeSessionInit, decodeSessionMessage } from "../../../src/protocol/sessions.ts";
import { checkRequest, requestBodies } from "./request-bodies.ts";

const NUM_RUNS = 8_000;
/** A second or two of work; more than that only on a machine that is busy otherwise. */
const LONG = { timeout: 300_000 };

const DECODERS: [string, (body: unknown) => void][] = [
  ["chat", (body) => checkRequest(decodeChatRequest(body, "r").generate)],
  ["completions", (body) => checkRequest(decodeCompletionRequest(body, "r").generate)],
  [
    "session messages",
    (body) =>
      checkRequest({ prompts: [], n: 1, beams: null, echo: false, ...decodeSessionMessage(body, "r").generate }),
  ],
  ["responses", (body) => checkRequest({ prompts: [], ...decodeResponse(body).generate })],
  ["sessions", (body) => void decodeSessionInit(body)],
];

/** `prompt` is a template at OpenAI's, which nobody has here, and every body of these has the field. */
function decodeResponse(body: unknown) {
  const { prompt: _, ...fields } = body as Record<string, unknown>;
  return decodeResponseRequest(fields, "r");
}

test.each(DECODERS)(`${NUM_RUNS} bodies for %s`, LONG, (_name, decode) => {
  let numDecoded = 0;
  fc.assert(
    fc.property(requestBodies, (body) => {
      try {
        decode(JSON.parse(JSON.stringify(body)));
        numDecoded++;
      } catch (cause) {
        if (!(cause instanceof ApiError)) throw cause;
        expect(cause.status).toBe(400);
        expect(cause.message).toMatch(/^(The request body|The keys of|'|\d+ prompts).+\.$/s);
        expect(cause.message.length).toBeLessThan(600);
      }
    }),
    { numRuns: NUM_RUNS },
  );
  // Both sides of the border were tried.
  expect(numDecoded).toBeGreaterThan(NUM_RUNS / 20);
  expect(numDecoded).toBeLessThan(NUM_RUNS);
});
