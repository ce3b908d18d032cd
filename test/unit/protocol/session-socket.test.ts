import fc from "fast-check";
import { expect, test } from "vitest";
import { ApiError, overloaded } from "../../../src/protocol/errors.ts";
import { BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { chatStream } from "../../../src/protocol/openai/chat-response.ts";
import {
  decodeSocketMessage,
  errorFrame,
  eventFrames,
  idleFrame,
  parseSocketMessage,
  SOCKET_PING,
  SOCKET_PONG,
  sessionFrame,
  socketRefOf,
  stoppedFrame,
  turnFrame,
} from "../../../src/protocol/session-socket.ts";
import { IdentifiedStream } from "../../../src/protocol/sse-ids.ts";
import { caught } from "./caught.ts";
import { answer } from "./events.ts";

const decode = (message: object) => decodeSocketMessage({ ...message }, "r1");

test("messages, edits and regenerations are those of the routes, and always streamed", () => {
  const message = decode({ type: "message", content: "Hi", seed: 5, if_busy: "queue", stream: false });
  expect(message).toMatchObject({
    type: "ask",
    question: { kind: "message", content: "Hi" },
    turn: { generate: { requestId: "r1", sampling: { seed: 5 } }, style: { stream: true }, waitsForTurn: true },
  });
  expect(decode({ type: "edit", message_id: 7, content: "Hi", truncation: "auto" })).toMatchObject({
    question: { kind: "edit", messageId: 7, content: "Hi" },
    turn: { truncates: true, waitsForTurn: false },
  });
  expect(decode({ type: "regenerate", stream_options: { include_usage: true } })).toMatchObject({
    question: { kind: "regenerate" },
    turn: { style: { includeUsage: true } },
  });
});

test("a stop, a ping and a wish to resume", () => {
  expect(decode({ type: "stop" })).toEqual({ type: "stop" });
  expect(decode(JSON.parse(SOCKET_PING))).toEqual({ type: "ping" });
  expect(JSON.parse(SOCKET_PONG)).toEqual({ type: "pong" });
  expect(decode({ type: "resume" })).toEqual({ type: "resume", position: null });
  expect(decode({ type: "resume", last_event_id: null })).toEqual({ type: "resume", position: null });
  const position = { turn: 4, numEvents: 17 };
  expect(decode({ type: "resume", last_event_id: "4-17" })).toEqual({ type: "resume", position });
});

test.each([
  [{}, "type"],
  [{ type: "shout" }, "type"],
  [{ type: "stop", ref: "" }, "ref"],
  [{ type: "stop", ref: "r".repeat(129) }, "ref"],
  [{ type: "message" }, "content"],
  [{ type: "message", content: "x", temperature: 9 }, "temperature"],
  [{ type: "message", content: "x", if_busy: "panic" }, "if_busy"],
  [{ type: "edit", content: "x" }, "message_id"],
  [{ type: "edit", message_id: 0, content: "x" }, "message_id"],
  [{ type: "resume", last_event_id: "4" }, "last_event_id"],
  [{ type: "resume", last_event_id: 4 }, "last_event_id"],
])("%j is a 400", (message, param) => {
  expect(caught(() => decode(message))).toMatchObject({ status: 400, param });
});

test("text that is no JSON object is a 400, and one over the body's limit a 413, whatever its characters", () => {
  for (const text of ["", "{", "[]", "null", "5"]) {
    expect(caught(() => parseSocketMessage(text))).toMatchObject({ status: 400 });
  }
  const sized = (character: string, numBytes: number) =>
    `"${character.repeat((numBytes - 2) / new TextEncoder().encode(character).length)}"`;
  for (const character of ["x", "ü"]) {
    expect(caught(() => parseSocketMessage(sized(character, BODY_BYTES_MAX)))).toMatchObject({ status: 400 });
    expect(caught(() => parseSocketMessage(sized(character, BODY_BYTES_MAX + 2)))).toMatchObject({ status: 413 });
  }
});

test("nothing that a client sends is anything but a request or an ApiError, and its name is a short text or none", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.object().map((o) => JSON.stringify(o)),
      ),
      (text) => {
        try {
          const message = parseSocketMessage(text);
          const ref = socketRefOf(message);
          expect(ref === null || (ref.length >= 1 && ref.length <= 128)).toBe(true);
          decodeSocketMessage(message, "r1");
        } catch (cause) {
          expect(cause).toBeInstanceOf(ApiError);
        }
      },
    ),
  );
});

test("frames of events are the stream's own JSON under the same ids", () => {
  const frame = { id: "c1", createdS: 5, numChoices: 1, includeUsage: true };
  const stream = new IdentifiedStream(chatStream(frame), 4, 0);
  const sse = answer("Two\nlines", ' and "quotes"\u2028 {"type":').map((event) => stream.encode(event));
  const frames = sse.flatMap(eventFrames).map((text) => JSON.parse(text));
  const events = sse.join("").trimEnd().split("\n\n");
  expect(frames.map(({ id }) => id)).toEqual(events.map((_, i) => `4-${i + 1}`));
  expect(frames.map(({ data }) => (data === "[DONE]" ? data : JSON.stringify(data)))).toEqual(
    events.map((event) => event.split("\ndata: ")[1]),
  );
  expect(frames.at(-1)).toEqual({ type: "event", id: `4-${events.length}`, data: "[DONE]" });
});

test("replies carry the name of what they answer, and no name where there is none", () => {
  const question = { id: 3, role: "user" as const, content: "Hi", createdAtMs: 5000, finishReason: null };
  const turn = { turn: 4, question, numTruncated: 2 };
  expect(JSON.parse(turnFrame(turn, "a"))).toEqual({
    type: "turn",
    turn: 4,
    message: { id: 3, role: "user", content: "Hi", created_at: 5, finish_reason: null },
    truncated_messages: 2,
    ref: "a",
  });
  expect(JSON.parse(turnFrame(turn, null))).not.toHaveProperty("ref");
  expect(JSON.parse(stoppedFrame(true, "b"))).toEqual({ type: "stopped", stopped: true, ref: "b" });
  expect(JSON.parse(idleFrame(null))).toEqual({ type: "idle" });
  expect(JSON.parse(errorFrame(overloaded(4, 4), "c"))).toMatchObject({
    type: "error",
    status: 429,
    error: { code: "server_overloaded", param: null, type: "server_busy" },
    retry_after_ms: 1000,
    ref: "c",
  });
  const session = { id: "s", title: "T", model: "m", createdAtMs: 0, updatedAtMs: 0, numMessages: 0 };
  const info = { ...session, messages: [question], busy: false, numTruncated: 0 };
  expect(JSON.parse(sessionFrame(info))).toMatchObject({
    type: "session",
    session: { id: "s", messages: [{ id: 3 }] },
  });
});
