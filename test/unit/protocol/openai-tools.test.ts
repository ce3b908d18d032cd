/** Calls and thoughts in chat completions: exact bytes, the fault table of real clients turned round, and the way back. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { chatBody, chatStream } from "../../../src/protocol/openai/chat-response.ts";
import type { AnswerFrame } from "../../../src/protocol/openai/chunk-stream.ts";
import { UpstreamEvents } from "../../../src/protocol/openai/upstream-events.ts";
import { SseDecoder } from "../../../src/protocol/sse-decoder.ts";
import { callingStreams, delta, done, finish, reasoning, start, token, toolCall } from "./events.ts";
import { readSse } from "./sse-reader.ts";

const FRAME: AnswerFrame = { id: "x-1", createdS: 1_700_000_000, numChoices: 1, includeUsage: false };

function streamed(events: readonly GenerateEvent[]): string {
  const encoder = chatStream(FRAME);
  const text = events.map((event) => encoder.encode(event)).join("");
  encoder.end();
  return text;
}

function whole(events: readonly GenerateEvent[]) {
  const collector = new AnswerCollector(1);
  for (const event of events) collector.add(event);
  return chatBody(collector.answer(), FRAME);
}

const HM = [token("Hm", -1)];
const CALLING = [
  start(),
  reasoning("Hm", 0, HM),
  delta("Let me see."),
  ...toolCall(0, "get_weather", ['{"city":', ' "Paris"}']),
  ...toolCall(1, "get_weather"),
  finish(0, "tool_calls"),
  done(),
];

test("golden", async () => {
  await expect(streamed(CALLING)).toMatchFileSnapshot("golden/chat-tools.sse");
  const silent = [start(), ...toolCall(0, "f", ["{}"]), finish(0, "tool_calls"), done()];
  const bodies = [CALLING, silent, [start(), reasoning("Hm"), finish(), done()]].map(whole);
  await expect(bodies.map((body) => `${JSON.stringify(body)}\n`).join("")).toMatchFileSnapshot(
    "golden/chat-tools.jsonl",
  );
});

test("the first delta of a call has index, id, type and name, every later one its index; all add up to the whole", () => {
  fc.assert(
    fc.property(callingStreams, (events) => {
      const { chunks } = readSse(streamed(events));
      const [choice] = whole(events).choices;
      const calls: { id: string; type: string; function: { name: string; arguments: string } }[] = [];
      let [words, thoughts] = ["", ""];
      for (const { delta: said } of chunks.flatMap(({ choices }) => choices)) {
        words += said?.content ?? "";
        thoughts += said?.reasoning_content ?? "";
        for (const { index, id, type, function: made } of said?.tool_calls ?? []) {
          if (index === calls.length) {
            expect({ type, arguments: made.arguments }).toEqual({ type: "function", arguments: "" });
            calls.push({ id: id!, type: type!, function: { name: made.name!, arguments: "" } });
          } else {
            expect(index).toBe(calls.length - 1);
            expect([id, type, made.name]).toEqual([undefined, undefined, undefined]);
            calls[index]!.function.arguments += made.arguments;
          }
        }
      }
      const { content, tool_calls = [], reasoning_content = "" } = choice!.message as never as Record<string, never>;
      expect(calls).toEqual(tool_calls);
      expect(words).toBe(content ?? "");
      expect(thoughts).toBe(reasoning_content);
      expect(content === null).toBe(words === "" && calls.length > 0);
      expect(choice!.finish_reason).toBe(calls.length > 0 ? "tool_calls" : "stop");
    }),
  );
});

test("what is written is read back as the same events, streamed and whole", () => {
  const upstream = () =>
    new UpstreamEvents({
      model: "demo",
      numChoices: 1,
      wantsLogprobs: true,
      echoed: null,
      callsReason: "tool_calls",
      newCallId: () => "none",
      nowMs: () => 0,
    });
  const collected = (events: readonly GenerateEvent[]) => {
    const collector = new AnswerCollector(1);
    for (const event of events) collector.add(event);
    const { choices } = collector.answer();
    return choices.map(({ tokens: _, ...choice }) => choice);
  };
  fc.assert(
    fc.property(callingStreams, (events) => {
      const stream = upstream();
      const read = new SseDecoder().push(new TextEncoder().encode(streamed(events))).flatMap((one) => stream.push(one));
      expect(collected(read)).toEqual(collected(events));
      const body = upstream();
      expect(collected([...body.pushChunk(whole(events)), ...body.end()])).toEqual(collected(events));
    }),
  );
});
