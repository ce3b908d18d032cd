/**
 * The streamed answers of OpenAI's two formats. Golden files hold the exact bytes; the properties are the fault table
 * of real clients turned round: what breaks a client must never be written.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import type { StreamEncoder } from "../../../src/protocol/answer-encoder.ts";
import { invalidRequest } from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { chatBody, chatStream } from "../../../src/protocol/openai/chat-response.ts";
import type { AnswerFrame } from "../../../src/protocol/openai/chunk-stream.ts";
import { completionBody, completionStream } from "../../../src/protocol/openai/completion-response.ts";
import { answer, delta, done, eventStreams, fault, finish, prompt, start, token } from "./events.ts";
import { type Chunk, readSse } from "./sse-reader.ts";

const FRAME: AnswerFrame = { id: "x-1", createdS: 1_700_000_000, numChoices: 1, includeUsage: false };

function write(encoder: StreamEncoder, events: GenerateEvent[]): string {
  const text = events.map((event) => encoder.encode(event)).join("");
  encoder.end();
  return text;
}

const FORMATS = {
  chat: { stream: chatStream, body: chatBody },
  completions: { stream: completionStream, body: completionBody },
};

const LOGPROBS = [
  token("Hé", -0.25, [
    ["Hé", -0.25],
    ["Ha", -1.5],
  ]),
];

describe("golden streams", () => {
  test.each<[string, StreamEncoder, GenerateEvent[]]>([
    ["chat", chatStream(FRAME), answer("Hé", "", "llo\n🦀")],
    ["chat-usage", chatStream({ ...FRAME, includeUsage: true }), answer("Hi")],
    [
      "chat-two-choices",
      chatStream({ ...FRAME, numChoices: 2 }),
      [start(), delta("a", 1), delta("b", 0), finish(1, "length"), delta("c", 0), finish(0, "stop", "###"), done()],
    ],
    [
      "chat-logprobs",
      chatStream(FRAME),
      [start(), delta("Hé", 0, LOGPROBS), delta("", 0, LOGPROBS), finish(0, "stop", 2), done()],
    ],
    ["chat-error", chatStream(FRAME), [start(), delta("Hi"), fault()]],
    ["chat-session", chatStream({ ...FRAME, extra: { session_id: "s1" } }), [start(), finish(0, "abort"), done()]],
    ["completions", completionStream(FRAME), answer("Hé", "", "llo")],
    [
      "completions-echo-logprobs-usage",
      completionStream({ ...FRAME, numChoices: 2, includeUsage: true }),
      [
        start(),
        prompt("Oh", 0, [token("Oh", null)]),
        prompt("Ah", 1, [token("Ah", null)]),
        delta("Hé", 1, LOGPROBS),
        finish(1, "length"),
        delta("Hé", 0, LOGPROBS),
        finish(0, "length"),
        done(),
      ],
    ],
  ])("%s", async (name, encoder, events) => {
    await expect(write(encoder, events)).toMatchFileSnapshot(`golden/${name}.sse`);
  });

  test("whole answers", async () => {
    const events = [
      start(),
      prompt("Oh", 0, [token("Oh", null)]),
      delta("Hé", 0, LOGPROBS),
      finish(0, "length"),
      done(),
    ];
    const whole = (list: GenerateEvent[]) => {
      const collector = new AnswerCollector(1);
      for (const event of list) collector.add(event);
      return collector.answer();
    };
    const bodies = [
      chatBody(whole([start(), delta("Hé", 0, LOGPROBS), finish(0, "stop", "###"), done()]), FRAME),
      chatBody(whole(answer()), { ...FRAME, extra: { session_id: "s1" } }),
      completionBody(whole(events), FRAME),
      completionBody(whole(answer("Hi")), FRAME),
    ];
    const lines = bodies.map((one) => `${JSON.stringify(one)}\n`).join("");
    await expect(lines).toMatchFileSnapshot("golden/whole-answers.jsonl");
  });
});

describe.each(Object.entries(FORMATS))("every stream of %s", (name, { stream, body }) => {
  const streams = fc.record({ list: eventStreams, includeUsage: fc.boolean() });
  const property = (check: (chunks: Chunk[], numChoices: number, includeUsage: boolean) => void) =>
    fc.assert(
      fc.property(streams, ({ list: { events, numChoices }, includeUsage }) => {
        const { chunks, error } = readSse(write(stream({ ...FRAME, numChoices, includeUsage }), events));
        expect(error).toBeNull();
        check(chunks, numChoices, includeUsage);
      }),
    );

  test("has the same id, time and model in each chunk", () => {
    property((chunks) => {
      const object = name === "chat" ? "chat.completion.chunk" : "text_completion";
      for (const chunk of chunks)
        expect(chunk).toMatchObject({ id: "x-1", created: 1_700_000_000, model: "demo", object });
    });
  });

  test("finishes each choice exactly once, with nothing after it", () => {
    property((chunks, numChoices) => {
      for (let index = 0; index < numChoices; index++) {
        const reasons = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
        expect(reasons.filter((choice) => choice.finish_reason !== null)).toHaveLength(1);
        expect(reasons.at(-1)!.finish_reason).not.toBeNull();
      }
    });
  });

  test("holds one choice in each chunk, and none only in the usage chunk at the end", () => {
    property((chunks, _numChoices, includeUsage) => {
      const choiceChunks = includeUsage ? chunks.slice(0, -1) : chunks;
      for (const { choices } of choiceChunks) expect(choices).toHaveLength(1);
      if (includeUsage) {
        expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 10 } });
        for (const chunk of choiceChunks) expect(chunk.usage).toBeNull();
      } else {
        for (const chunk of choiceChunks) expect(chunk).not.toHaveProperty("usage");
      }
    });
  });

  test("says the same text as the whole answer, character for character", () => {
    fc.assert(
      fc.property(eventStreams, ({ events, numChoices }) => {
        const frame = { ...FRAME, numChoices };
        const collector = new AnswerCollector(numChoices);
        for (const event of events) collector.add(event);
        const wholes = (body(collector.answer(), frame) as { choices: object[] }).choices;
        const { chunks } = readSse(write(stream(frame), events));
        wholes.forEach((whole, index) => {
          const pieces = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
          const text = pieces.map((piece) => piece.text ?? piece.delta?.content ?? "").join("");
          const { finish_reason, stop_reason } = pieces.at(-1)!;
          const shown = name === "chat" ? { message: { content: text } } : { text };
          expect(whole).toMatchObject({ index, finish_reason, stop_reason, ...shown });
        });
      }),
    );
  });

  test("tells a fault and then ends", () => {
    fc.assert(
      fc.property(eventStreams, fc.nat(), ({ events, numChoices }, cut) => {
        const broken = [...events.slice(0, cut % events.length), fault()];
        const { error } = readSse(write(stream({ ...FRAME, numChoices }), broken));
        expect(error).toEqual({
          message: "Internal error. Request id: r1",
          type: "server_error",
          param: null,
          code: "internal_error",
        });
      }),
    );
  });

  test("a fault of our own is told in the same way", () => {
    const { error } = readSse(stream(FRAME).fail(invalidRequest("No.", "p", "c")));
    expect(error).toEqual({ message: "No.", type: "invalid_request_error", param: "p", code: "c" });
  });

  test("never hides an engine's fault: missing finish, missing end, pieces after the end", () => {
    expect(() => write(stream(FRAME), [start(), delta("a"), done()])).toThrow("has not finished");
    expect(() => write(stream(FRAME), [start(), delta("a"), finish()])).toThrow("broke off");
    expect(() => write(stream(FRAME), [start(), finish(), delta("a")])).toThrow("choice 0 is finished");
    expect(() => write(stream(FRAME), [delta("a")])).toThrow("the stream is new");
  });
});

test("a chat names the role of each choice before anything else of it, and only once", () => {
  fc.assert(
    fc.property(eventStreams, ({ events, numChoices }) => {
      const { chunks } = readSse(write(chatStream({ ...FRAME, numChoices }), events));
      for (let index = 0; index < numChoices; index++) {
        const deltas = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
        expect(deltas[0]!.delta).toEqual({ role: "assistant", content: "" });
        expect(deltas.filter(({ delta: one }) => one!.role !== undefined)).toHaveLength(1);
      }
    }),
  );
});
