/**
 * Streamed responses: golden files hold the exact bytes, and the properties say what no stream may do, whatever the
 * answer is made of.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { overloaded } from "../../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../../src/protocol/generate.ts";
import { ResponseOutput } from "../../../../src/protocol/responses/output.ts";
import { ResponseStream } from "../../../../src/protocol/responses/stream.ts";
import { answers, call, json, reasoning } from "../answers.ts";
import { answer, delta, done, fault, finish, prompt, start, token } from "../events.ts";
import { FRAME, readResponseSse, type StreamedEvent } from "./frames.ts";

function write(events: GenerateEvent[]): string {
  const encoder = new ResponseStream(FRAME);
  const text = events.map((event) => encoder.encode(event)).join("");
  encoder.end();
  return text;
}

function whole(events: GenerateEvent[]) {
  const output = new ResponseOutput(FRAME);
  for (const event of events) output.add(event);
  return output.body();
}

const CALLS = [
  start(),
  reasoning("Two "),
  reasoning("cities."),
  delta("I look."),
  call(0, "weather"),
  json(0, '{"city":'),
  json(0, '"Bern"}'),
  call(1, "weather"),
  json(1, '{"city":"Rome"}'),
  finish(0, "tool_calls"),
  done(),
];

describe("golden streams", () => {
  test.each<[string, GenerateEvent[]]>([
    ["text", answer("Hé", "", "llo\n🦀")],
    ["calls", CALLS],
    ["incomplete", [start(), delta("Hi"), finish(0, "length"), done()]],
    ["logprobs", [start(), delta("Hé", 0, [token("Hé", -0.25, [["Ha", -1.5]])]), finish(), done()]],
    ["empty", [start(), finish(), done()]],
    ["failed", [start(), delta("Hi"), fault()]],
  ])("%s", async (name, events) => {
    await expect(write(events)).toMatchFileSnapshot(`golden/${name}.sse`);
  });

  test("whole", async () => {
    const lines = [answer("Hé"), CALLS].map((events) => `${JSON.stringify(whole(events))}\n`).join("");
    await expect(lines).toMatchFileSnapshot("golden/whole.jsonl");
  });
});

describe("every stream", () => {
  const property = (check: (events: StreamedEvent[], answered: GenerateEvent[]) => void) =>
    fc.assert(fc.property(answers, (events) => check(readResponseSse(write(events)), events)));

  test("begins with created and in_progress, and ends with the whole response, once", () => {
    property((events, answered) => {
      const types = events.map(({ type }) => type);
      expect(types.slice(0, 2)).toEqual(["response.created", "response.in_progress"]);
      expect(types.filter((type) => /^response\.(completed|incomplete|failed)$/.test(type))).toEqual([types.at(-1)]);
      expect(events.at(-1)!.response).toEqual(whole(answered));
    });
  });

  test("opens each item before its parts, closes it before the next one, and says its pieces in between", () => {
    property((events) => {
      const { output } = events.at(-1)!.response!;
      expect(output.length).toBeGreaterThan(0);
      const inner = events.slice(2, -1);
      output.forEach((item, index) => {
        const own = inner.filter(({ output_index }) => output_index === index);
        expect(inner.slice(inner.indexOf(own[0]!), inner.indexOf(own.at(-1)!) + 1)).toEqual(own);
        expect(own[0]).toMatchObject({
          type: "response.output_item.added",
          item: { id: item.id, status: "in_progress" },
        });
        expect(own.at(-1)).toMatchObject({ type: "response.output_item.done", item });
        const kinds = own.map(({ type }) => type.replace(/^response\./, "")).filter((type) => !type.endsWith(".delta"));
        const name = { message: "output_text", reasoning: "reasoning_text", function_call: "" }[item.type];
        expect(kinds).toEqual(
          item.type === "function_call"
            ? ["output_item.added", "function_call_arguments.done", "output_item.done"]
            : ["output_item.added", "content_part.added", `${name}.done`, "content_part.done", "output_item.done"],
        );
        const said = own.map(({ delta: piece }) => piece ?? "").join("");
        expect(said).toBe(item.type === "function_call" ? item.arguments : item.content[0]!.text);
      });
      expect(new Set(output.map(({ id }) => id)).size).toBe(output.length);
    });
  });

  test("says all that was said, in its order", () => {
    property((events, answered) => {
      const { output } = events.at(-1)!.response!;
      const all = (type: GenerateEvent["type"]) =>
        answered.map((event) => (event.type === type && "text" in event ? event.text : "")).join("");
      const text = output.map((item) => (item.type === "message" ? item.content[0]!.text : "")).join("");
      const thought = output.map((item) => (item.type === "reasoning" ? item.content[0]!.text : "")).join("");
      const calls = output.map((item) => (item.type === "function_call" ? item.arguments : "")).join("");
      expect([text, thought, calls]).toEqual([all("delta"), all("reasoning"), all("toolArguments")]);
    });
  });

  test("tells a fault by an error event and a failed response, wherever it comes", () => {
    fc.assert(
      fc.property(answers, fc.nat(), (events, cut) => {
        const last = readResponseSse(write([...events.slice(0, cut % events.length), fault()])).slice(-2);
        expect(last[0]).toMatchObject({ type: "error", code: "internal_error", param: null });
        expect(last[1]).toMatchObject({
          type: "response.failed",
          response: { status: "failed", error: { code: "server_error" } },
        });
      }),
    );
  });
});

test("a fault of our own is told in the same way", () => {
  const encoder = new ResponseStream(FRAME);
  const events = readResponseSse(encoder.encode(start()) + encoder.fail(overloaded(9, 8)));
  expect(events.at(-2)).toMatchObject({ type: "error", code: "server_overloaded" });
  expect(events.at(-1)!.response).toMatchObject({ error: { code: "rate_limit_exceeded" }, model: "demo" });
});

test("an engine's fault is never hidden", () => {
  expect(() => write([start(), delta("a"), done()])).toThrow("has not finished");
  expect(() => write([start(), delta("a"), finish()])).toThrow("broke off");
  expect(() => write([start(), prompt("a")])).toThrow("no echo");
});

test.each([
  ["stop", "completed"],
  ["tool_calls", "completed"],
  ["length", "incomplete"],
  ["abort", "cancelled"],
] as const)("an answer that ended with %s is %s", (reason, status) => {
  expect(whole([start(), delta("a"), finish(0, reason), done()])).toMatchObject({
    status,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    usage: { input_tokens: 7, output_tokens: 3, total_tokens: 10, input_tokens_details: { cached_tokens: 4 } },
  });
});
