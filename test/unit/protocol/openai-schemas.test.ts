/** What we write is what OpenAI's own schemas describe: whole bodies, chunks, events and errors, of random answers. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import type { StreamEncoder } from "../../../src/protocol/answer-encoder.ts";
import * as errors from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { chatBody, chatStream } from "../../../src/protocol/openai/chat-response.ts";
import type { AnswerFrame } from "../../../src/protocol/openai/chunk-stream.ts";
import { completionBody, completionStream } from "../../../src/protocol/openai/completion-response.ts";
import { errorBody } from "../../../src/protocol/openai/error-body.ts";
import { modelBody, modelListBody } from "../../../src/protocol/openai/models.ts";
import { ResponseOutput } from "../../../src/protocol/responses/output.ts";
import { ResponseStream } from "../../../src/protocol/responses/stream.ts";
import { completionChunkFault, RESPONSE_EVENTS, schemaFault } from "../../support/openai-schemas.ts";
import { MODEL } from "../api/scripted-host.ts";
import { answers } from "./answers.ts";
import { delta, done, eventStreams, fault, finish, start, token } from "./events.ts";
import { FRAME as RESPONSE_FRAME, readResponseSse } from "./responses/frames.ts";
import { type Chunk, readSse } from "./sse-reader.ts";

const FRAME: AnswerFrame = { id: "x-1", createdS: 1_700_000_000, numChoices: 1, includeUsage: false };
const RUNS = { numRuns: 60 };

const LOGPROBS = [start(), delta("Hé", 0, [token("Hé", -0.25, [["Ha", -1.5]])]), finish(), done()];

function write(encoder: StreamEncoder, events: GenerateEvent[]): string {
  return events.map((event) => encoder.encode(event)).join("");
}

function whole(events: GenerateEvent[], numChoices: number) {
  const collector = new AnswerCollector(numChoices);
  for (const event of events) collector.add(event);
  return collector.answer();
}

const chunksOf = (text: string): Chunk[] => readSse(text).chunks;

describe("chat completions", () => {
  const check = (events: GenerateEvent[], numChoices: number) => {
    expect(schemaFault("CreateChatCompletionResponse", chatBody(whole(events, numChoices), FRAME))).toBeNull();
    for (const includeUsage of [false, true]) {
      for (const chunk of chunksOf(write(chatStream({ ...FRAME, numChoices, includeUsage }), events))) {
        expect(schemaFault("CreateChatCompletionStreamResponse", chunk)).toBeNull();
      }
    }
  };

  test("of any number of choices", () => {
    fc.assert(
      fc.property(eventStreams, ({ events, numChoices }) => check(events, numChoices)),
      RUNS,
    );
  });

  test("with thoughts, calls and logprobs", () => {
    fc.assert(
      fc.property(answers, (events) => check(events, 1)),
      RUNS,
    );
    check(LOGPROBS, 1);
  });
});

test("completions, streamed and whole", () => {
  const check = (events: GenerateEvent[], numChoices: number) => {
    expect(schemaFault("CreateCompletionResponse", completionBody(whole(events, numChoices), FRAME))).toBeNull();
    for (const chunk of chunksOf(write(completionStream({ ...FRAME, numChoices, includeUsage: true }), events))) {
      expect(completionChunkFault(chunk)).toBeNull();
    }
  };
  fc.assert(
    fc.property(eventStreams, ({ events, numChoices }) => check(events, numChoices)),
    RUNS,
  );
  check(LOGPROBS, 1);
});

describe("responses", () => {
  const check = (events: GenerateEvent[]) => {
    const streamed = readResponseSse(write(new ResponseStream(RESPONSE_FRAME), events));
    for (const event of streamed) expect(schemaFault(RESPONSE_EVENTS[event.type]!, event)).toBeNull();
    const output = new ResponseOutput(RESPONSE_FRAME);
    for (const event of events) output.add(event);
    expect(schemaFault("Response", output.body())).toBeNull();
  };

  test("of any answer", () => {
    fc.assert(fc.property(answers, check), RUNS);
  });

  test("with logprobs, and one that failed", () => {
    check(LOGPROBS);
    check([start(), delta("Hi"), fault()]);
  });
});

test("models", () => {
  expect(schemaFault("Model", modelBody(MODEL))).toBeNull();
  expect(schemaFault("ListModelsResponse", modelListBody([MODEL, { ...MODEL, contextLength: null }]))).toBeNull();
});

test.each([
  ["a wrong field", errors.invalidRequest("No.", "temperature")],
  ["the context", errors.contextLengthExceeded(600, 5, 512)],
  ["the model", errors.modelNotFound("x", [])],
  ["the key", errors.unauthorized()],
  ["the route", errors.unknownRoute("GET", "/x")],
  ["the queue", errors.overloaded(9, 8)],
  ["a bug", errors.internalError("r")],
])("errors: %s", (_name, error) => {
  expect(schemaFault("ErrorResponse", errorBody(error))).toBeNull();
});

test("the validators find what is wrong", () => {
  const body = chatBody(whole(LOGPROBS, 1), FRAME);
  const { created: _, ...without } = body;
  expect(schemaFault("CreateChatCompletionResponse", without)).toMatch(/created/);
  const ended = { ...body, choices: body.choices.map((choice) => ({ ...choice, finish_reason: "eos" })) };
  expect(schemaFault("CreateChatCompletionResponse", ended)).toMatch(/finish_reason/);
  expect(schemaFault("ErrorResponse", { error: { message: "x", type: "y", param: null, code: 400 } })).toMatch(/code/);
});
