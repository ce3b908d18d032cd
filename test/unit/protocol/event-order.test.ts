import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventOrder } from "../../../src/protocol/event-order.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { callingStreams, delta, done, eventStreams, fault, finish, prompt, start, toolCall } from "./events.ts";

function run(events: GenerateEvent[], numChoices: number): void {
  const order = new EventOrder(numChoices);
  for (const event of events) order.check(event);
  order.end();
}

test("every well-ordered stream passes", () => {
  fc.assert(fc.property(eventStreams, ({ events, numChoices }) => run(events, numChoices)));
  fc.assert(fc.property(callingStreams, (events) => run(events, 1)));
});

test("an error may end a stream anywhere", () => {
  fc.assert(
    fc.property(eventStreams, fc.nat(), ({ events, numChoices }, cut) => {
      run([...events.slice(0, cut % events.length), fault()], numChoices);
    }),
  );
});

test("a stream that breaks off anywhere is noticed", () => {
  fc.assert(
    fc.property(eventStreams, fc.nat(), ({ events, numChoices }, cut) => {
      expect(() => run(events.slice(0, cut % events.length), numChoices)).toThrow("broke off");
    }),
  );
});

describe("is refused:", () => {
  test.each<[string, GenerateEvent[], string]>([
    ["no start", [delta("a")], "the stream is new"],
    ["two starts", [start(), start()], "the stream is open"],
    ["a delta after the finish", [start(), finish(), delta("a")], "choice 0 is finished"],
    ["two finishes", [start(), finish(), finish()], "choice 0 is finished"],
    ["the prompt after the first delta", [start(), delta("a"), prompt("b")], "choice 0 is open"],
    ["done without a finish", [start(), delta("a"), done()], "choice 0 has not finished"],
    ["a choice that was not asked for", [start(), delta("a", 1)], "there is no choice 1"],
    ["a negative choice", [start(), finish(-1)], "there is no choice -1"],
    ["a call out of its turn", [start(), ...toolCall(1, "f")], "call 1 is not the next one of choice 0"],
    [
      "arguments of a call that another one followed",
      [start(), ...toolCall(0, "f"), ...toolCall(1, "g"), { type: "toolArguments", index: 0, call: 0, text: "{}" }],
      "call 0 is not the open one",
    ],
    [
      "arguments without a call",
      [start(), { type: "toolArguments", index: 0, call: 0, text: "{}" }],
      "call 0 is not the open one",
    ],
    ["an event after done", [start(), finish(), done(), delta("a")], "the stream is ended"],
    ["an event after an error", [start(), fault(), done()], "the stream is ended"],
    ["two errors", [start(), fault(), fault()], "the stream is ended"],
  ])("%s", (_name, events, why) => {
    expect(() => run(events, 1)).toThrow(why);
  });
});
