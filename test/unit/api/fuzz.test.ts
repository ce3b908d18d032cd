/**
 * Whatever a client sends, the answer is a 200 or a refusal in OpenAI's shape that names an existing limit or field;
 * never a 500, and never a 200 that the engine was not asked for.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createApi } from "../../../src/api/app.ts";
import type { EventStream } from "../../../src/api/model-service.ts";
import type { GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import { delta, done, finish, start } from "../protocol/events.ts";
import { checkRequest, requestBodies } from "../protocol/request-bodies.ts";
import { readResponseSse } from "../protocol/responses/frames.ts";
import { readSse } from "../protocol/sse-reader.ts";
import { ManualClock, ScriptedModels, ScriptedSessions } from "./scripted-host.ts";

const NUM_RUNS_STRUCTURED = 3_000;
const NUM_RUNS_BYTES = 2_000;
/** A few seconds of work; more than that only on a machine that is busy otherwise. */
const LONG = { timeout: 300_000 };

/** An engine that takes any request and answers one token for each choice. */
class AnyModels extends ScriptedModels {
  numRequests = 0;

  override async generate(request: GenerateRequest): Promise<EventStream> {
    this.numRequests++;
    checkRequest(request);
    const indices = Array.from({ length: request.prompts.length * request.n }, (_, index) => index);
    const events: GenerateEvent[] = [start(), ...indices.flatMap((i) => [delta("x", i), finish(i)]), done()];
    return { next: async () => events.shift() ?? null, cancel() {} };
  }
}

const SESSION = `session-${"0".repeat(24)}`;
const PATHS = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/responses",
  "/v1/sessions",
  `/v1/sessions/${SESSION}/messages`,
] as const;

async function fuzzHost() {
  const models = new AnyModels();
  const sessions = new ScriptedSessions();
  await sessions.create({ model: "m", system: null, title: null }, null);
  const app = createApi({ models, sessions, clock: new ManualClock(), randomId: () => "r", log: () => {} });
  const send = async (path: string, text: BodyInit) => {
    const headers = { "content-type": "application/json" };
    const response = await app.request(path, { method: "POST", body: text, headers });
    return { status: response.status, type: response.headers.get("content-type") ?? "", text: await response.text() };
  };
  return { models, send };
}

function checkAnswer({ status, type, text }: { status: number; type: string; text: string }, isAsked: boolean): void {
  if (status === 200 || status === 201) {
    if (/^event: response\./.test(text)) expect(readResponseSse(text).at(-1)!.type).toBe("response.completed");
    else if (type.startsWith("text/event-stream")) expect(readSse(text.replace(/^id: .*\n/gm, "")).error).toBeNull();
    else expect(JSON.parse(text)).toHaveProperty("object");
    return;
  }
  expect(isAsked).toBe(false);
  expect([400, 413, 415]).toContain(status);
  const { error } = JSON.parse(text);
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  expect(error.type).toBe("invalid_request_error");
  expect(error.message.length).toBeLessThan(600);
}

test(`${NUM_RUNS_STRUCTURED} bodies of mixed fields never give a 500`, LONG, async () => {
  const { models, send } = await fuzzHost();
  const numByStatus = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(requestBodies, fc.constantFrom(...PATHS), async (fields, path) => {
      const numBefore = models.numRequests;
      const answer = await send(path, JSON.stringify(fields));
      numByStatus.set(answer.status, (numByStatus.get(answer.status) ?? 0) + 1);
      checkAnswer(answer, models.numRequests > numBefore);
    }),
    { numRuns: NUM_RUNS_STRUCTURED },
  );
  // Both sides of the border were tried.
  expect(numByStatus.get(200)).toBeGreaterThan(NUM_RUNS_STRUCTURED / 20);
  expect(numByStatus.get(400)).toBeGreaterThan(NUM_RUNS_STRUCTURED / 20);
});

test(`${NUM_RUNS_BYTES} bodies with broken bytes never give a 500`, LONG, async () => {
  const { send } = await fuzzHost();
  const edit = fc.record({ at: fc.nat(), remove: fc.nat(6), insert: fc.uint8Array({ maxLength: 6 }) });
  await fc.assert(
    fc.asyncProperty(
      requestBodies,
      fc.array(edit, { maxLength: 4 }),
      fc.constantFrom(...PATHS),
      async (fields, edits, path) => {
        const bytes = [...new TextEncoder().encode(JSON.stringify(fields))];
        for (const { at, remove, insert } of edits) bytes.splice(at % (bytes.length + 1), remove, ...insert);
        checkAnswer(await send(path, Uint8Array.from(bytes)), false);
      },
    ),
    { numRuns: NUM_RUNS_BYTES },
  );
});
