import fc from "fast-check";
import { expect, test } from "vitest";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { chatStream } from "../../../src/protocol/openai/chat-response.ts";
import { formatEventId, IdentifiedStream, parseEventId } from "../../../src/protocol/sse-ids.ts";
import { delta, done, eventStreams, fault, finish, start } from "./events.ts";
import { readSse, withoutIds } from "./sse-reader.ts";

const FRAME = { id: "x-1", createdS: 1_700_000_000, numChoices: 1, includeUsage: true };

function write(events: GenerateEvent[], numSeen: number, frame = FRAME): string {
  const encoder = new IdentifiedStream(chatStream(frame), 7, numSeen);
  return events.map((event) => encoder.encode(event)).join("");
}

test("ids are read back, and nothing else is", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e14 }), fc.integer({ min: 1, max: 1e14 }), (turn, numEvents) => {
      expect(parseEventId(formatEventId({ turn, numEvents }))).toEqual({ turn, numEvents });
    }),
  );
  for (const text of ["", "1", "1-", "-1", "01-1", "1-01", "1-1 ", "1-1-1", "a-b", `${"9".repeat(16)}-1`]) {
    expect(parseEventId(text)).toBeNull();
  }
});

test("a stream that is taken up after any of its events is the rest of it, byte for byte", () => {
  fc.assert(
    fc.property(eventStreams, ({ events, numChoices }) => {
      const frame = { ...FRAME, numChoices };
      const plain = chatStream(frame);
      const whole = write(events, 0, frame);
      expect(withoutIds(whole, 7)).toBe(events.map((event) => plain.encode(event)).join(""));
      const pieces = whole.split(/(?<=\n\n)/);
      for (let numSeen = 0; numSeen <= pieces.length; numSeen++) {
        expect(write(events, numSeen, frame)).toBe(pieces.slice(numSeen).join(""));
      }
    }),
  );
});

test("who has more than there is still learns how it ended", () => {
  const stopped = [start(), delta("a"), finish(0, "stop"), done()];
  const { chunks } = readSse(withoutIds(write(stopped, 9), 7, 3));
  expect(chunks.map(({ choices }) => choices[0]?.finish_reason)).toEqual(["stop", undefined]);
  expect(write([start(), delta("a"), fault()], 9)).toContain("internal_error");
});

test("pings and faults of the connection have no id", () => {
  const encoder = new IdentifiedStream(chatStream(FRAME), 7, 0);
  expect(encoder.keepAlive).toBe(": ping\n\n");
  expect(encoder.fail({ message: "m", type: "t", param: null, code: null } as never)).not.toContain("id: 7");
});
