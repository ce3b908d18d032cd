/** The streams of other servers as events: what each of them leaves out or says twice, recorded bytes, and any cuts. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventOrder } from "../../../src/protocol/event-order.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { chatStream } from "../../../src/protocol/openai/chat-response.ts";
import {
  isContextExceeded,
  UpstreamStreamError,
  upstreamErrorBody,
} from "../../../src/protocol/openai/upstream-error.ts";
import { UpstreamEvents } from "../../../src/protocol/openai/upstream-events.ts";
import { SseDecoder } from "../../../src/protocol/sse-decoder.ts";
import { eventStreams } from "./events.ts";

interface Options {
  numChoices?: number;
  wantsLogprobs?: boolean;
  echoed?: string[] | null;
}

function upstreamEvents({ numChoices = 1, wantsLogprobs = false, echoed = null }: Options = {}): UpstreamEvents {
  const options = { model: "mine", numChoices, wantsLogprobs, echoed, nowMs: () => 0 };
  return new UpstreamEvents({ ...options, callsReason: "tool_calls", newCallId: () => "made-up" });
}

/** All events of these pieces; a stream that is cut throws. */
function eventsOf(pieces: readonly Uint8Array[], options: Options = {}): GenerateEvent[] {
  const decoder = new SseDecoder();
  const upstream = upstreamEvents(options);
  const events = pieces.flatMap((piece) => decoder.push(piece)).flatMap((event) => upstream.push(event));
  return [...events, ...decoder.end().flatMap((event) => upstream.push(event)), ...upstream.end()];
}

const bytesOf = (text: string) => new TextEncoder().encode(text);
const stream = (...events: (object | string)[]) =>
  bytesOf(events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join(""));

/** What matters of events: text, how each choice ended, counts. */
function told(events: readonly GenerateEvent[]): { text: string; ends: string[]; usage: number[] } {
  const order = new EventOrder(4);
  const text: string[] = [];
  const ends: string[] = [];
  let usage: number[] = [];
  for (const event of events) {
    if (event.type !== "done") order.check(event);
    if (event.type === "delta") text.push(event.text);
    if (event.type === "finish") ends.push(`${event.index} ${event.reason} ${event.stop}`);
    if (event.type === "done") {
      usage = [event.usage.promptTokens, event.usage.completionTokens, event.usage.cachedTokens];
    }
  }
  expect(events.filter(({ type }) => type === "start")).toHaveLength(1);
  expect(events.at(-1)?.type).toBe("done");
  return { text: text.join(""), ends, usage };
}

const delta = (content: unknown, more: object = {}) => ({ choices: [{ index: 0, delta: { content }, ...more }] });
const USAGE = { prompt_tokens: 5, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 4 } };
const WHOLE = { text: "Hi there", ends: ["0 stop null"], usage: [5, 2, 4] };
const ROLE = { choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] };
const END = { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };
const COUNTS = { choices: [], usage: USAGE };

describe("reads", () => {
  test.each<[string, Uint8Array, object?]>([
    ["the canonical order", stream(ROLE, delta("Hi"), delta(" there"), END, COUNTS, "[DONE]")],
    ["no role, no end mark", stream(delta("Hi"), delta(" there"), END, COUNTS)],
    [
      "a finish with the last text (vLLM)",
      stream(ROLE, delta("Hi"), delta(" there", { finish_reason: "stop" }), COUNTS),
    ],
    ["usage with the finish", stream(delta("Hi"), delta(" there"), { ...END, usage: USAGE }, "[DONE]")],
    [
      "usage in every chunk",
      stream(
        { ...ROLE, usage: { prompt_tokens: 5, completion_tokens: 0 } },
        { ...delta("Hi"), usage: { prompt_tokens: 5, completion_tokens: 1 } },
        delta(" there"),
        END,
        COUNTS,
      ),
    ],
    ["null usage", stream({ ...ROLE, usage: null }, delta("Hi"), delta(" there"), { ...END, usage: null }, COUNTS)],
    ["a first chunk without choices (Azure)", stream({ choices: [] }, delta("Hi"), delta(" there"), END, COUNTS)],
    [
      "null and absent content",
      stream(delta(null), { choices: [{ delta: {} }] }, delta("Hi"), delta(" there"), END, COUNTS),
    ],
    ["no index", stream({ choices: [{ delta: { content: "Hi" } }] }, delta(" there"), END, COUNTS)],
    ["an empty finish_reason", stream(delta("Hi", { finish_reason: "" }), delta(" there"), END, COUNTS)],
    [
      "two ends and two end marks",
      stream(delta("Hi"), delta(" there"), END, END, COUNTS, "[DONE]", "[DONE]", delta("no")),
    ],
    ["parts of text (Mistral)", stream(delta([{ type: "text", text: "Hi" }]), delta(" there"), END, COUNTS)],
    ["Workers AI's own shape", stream({ response: "Hi" }, { response: " there", usage: USAGE }, "[DONE]")],
    [
      "reasoning apart",
      stream({ choices: [{ delta: { reasoning_content: "hm" } }] }, delta("Hi"), delta(" there"), END, COUNTS),
    ],
    ["a number as text (Workers AI)", stream(delta(42), END, COUNTS), { text: "42" }],
    ["no counts", stream(delta("Hi"), delta(" there"), END), { usage: [0, 2, 0] }],
    ["no finish, but an end mark", stream(delta("Hi"), delta(" there"), COUNTS, "[DONE]")],
    ["nothing but an end", stream(ROLE, END, "[DONE]"), { text: "", usage: [0, 0, 0] }],
    [
      "a length",
      stream(delta("Hi", { finish_reason: "length" })),
      { text: "Hi", ends: ["0 length null"], usage: [0, 1, 0] },
    ],
    [
      "vLLM's stop_reason",
      stream(delta("Hi", { finish_reason: "stop", stop_reason: "###" })),
      { text: "Hi", ends: ["0 stop ###"], usage: [0, 1, 0] },
    ],
    [
      "SGLang's matched_stop, which is the end token's id where nothing matched",
      stream(delta("Hi", { finish_reason: "stop", matched_stop: 2 })),
      { text: "Hi", usage: [0, 1, 0] },
    ],
    [
      "a filter's cut as no stop",
      stream(delta("Hi", { finish_reason: "content_filter" })),
      { text: "Hi", ends: ["0 abort null"], usage: [0, 1, 0] },
    ],
  ])("%s", (_name, bytes, wanted = {}) => {
    expect(told(eventsOf([bytes]))).toEqual({ ...WHOLE, ...wanted });
  });

  test("two choices, each with its own end", () => {
    const of = (index: number, content: string, finish: string | null = null) => ({
      choices: [{ index, delta: { content }, finish_reason: finish }],
    });
    const bytes = stream(of(1, "b"), of(0, "a"), of(1, "", "length"), of(0, "", "stop"), of(7, "nobody's"), "[DONE]");
    expect(told(eventsOf([bytes], { numChoices: 2 }))).toMatchObject({
      text: "ba",
      ends: ["1 length null", "0 stop null"],
    });
  });

  test("completions, with a prompt that is echoed here", () => {
    const of = (text: string, finish_reason: string | null = null) => ({
      choices: [{ index: 0, text, finish_reason }],
    });
    const events = eventsOf([stream(of("upon"), of("", "stop"), "[DONE]")], { echoed: ["Once "] });
    expect(events.slice(0, 3)).toMatchObject([
      { type: "start", model: "mine" },
      { type: "prompt", index: 0, text: "Once " },
      { type: "delta", text: "upon" },
    ]);
  });

  test("a whole answer instead of a stream", () => {
    const upstream = upstreamEvents();
    const body = { choices: [{ index: 0, message: { content: "Hi there" }, finish_reason: "stop" }], usage: USAGE };
    expect(told([...upstream.pushChunk(body), ...upstream.end()])).toEqual(WHOLE);
  });
});

describe("recorded from llama.cpp's server", () => {
  const recorded = (name: string) =>
    readFileSync(join(import.meta.dirname, `../../support/upstream-streams/llama-cpp-${name}.sse`));

  test("a chat", () => {
    const wanted = { text: "The KV cache keeps the attention", ends: ["0 length null"], usage: [14, 6, 0] };
    expect(told(eventsOf([recorded("chat")]))).toEqual(wanted);
  });

  test("a completion with logprobs, ids and bytes among them", () => {
    const events = eventsOf([recorded("completion")], { wantsLogprobs: true });
    const tokens = events.flatMap((event) => (event.type === "delta" ? (event.tokens ?? []) : []));
    expect(tokens.map(({ id, text }) => [id, text])).toEqual([
      [360, "ion"],
      [1225, " means"],
      [265, " the"],
      [518, "pt"],
    ]);
    expect(tokens[0]).toMatchObject({ bytes: [105, 111, 110], top: [{ id: 360 }, { id: 28, text: ":" }] });
    expect(told(events).usage).toEqual([4, 4, 0]);
  });
});

describe("tells of", () => {
  test.each<[string, Uint8Array, string | null]>([
    [
      "OpenAI's error",
      stream({ error: { message: "out of memory", type: "server_error", code: null } }),
      "out of memory",
    ],
    ["vLLM's error with a number for a code", stream({ error: { message: "no", code: 400 } }), "no"],
    ["an error that is a text (TGI, Ollama)", stream({ error: "overloaded", error_type: "overloaded" }), "overloaded"],
    ["vLLM's older error", stream({ object: "error", message: "bad", code: 400 }), "bad"],
    ["Workers AI's errors", stream({ errors: [{ message: "capacity", code: 3040 }] }), "capacity"],
    [
      "an event named error that is no JSON",
      bytesOf("event: error\ndata: Internal Server Error\n\n"),
      "Internal Server Error",
    ],
    ["what is no JSON", stream("<html>"), null],
    ["what is no object", stream("17"), null],
    ["an answer that was cut", stream(ROLE, delta("Hi")), null],
    ["an answer that never began", stream("[DONE]"), null],
    ["nothing at all", bytesOf(": ping\n\n"), null],
    ["a JSON text that was cut", bytesOf('data: {"choices":[{"del'), null],
  ])("%s", (_name, bytes, said) => {
    const error = caught(() => eventsOf([bytes]));
    expect(error).toBeInstanceOf(UpstreamStreamError);
    expect((error as UpstreamStreamError).said?.message ?? null).toBe(said);
  });

  test.each([
    { error: { message: "…", type: "invalid_request_error", code: "context_length_exceeded", param: "messages" } },
    {
      object: "error",
      message: "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
    },
    {
      error: { message: "The input (5000 tokens) is longer than the model's context length (4096 tokens).", code: 400 },
    },
    {
      error: { code: 400, message: "request (3011 tokens) exceeds the available context size (512 tokens)", type: "x" },
    },
    { error: { code: 400, message: "too long", type: "exceed_context_size_error" } },
    { error: "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048.", error_type: "validation" },
  ])("a prompt that is too long: %j", (body) => {
    expect(isContextExceeded(upstreamErrorBody(body)!)).toBe(true);
  });
});

describe("whatever the bytes", () => {
  test("our own encoder's stream comes back as the events that it was made of, however it is cut", () => {
    fc.assert(
      fc.property(eventStreams, fc.infiniteStream(fc.integer({ min: 1, max: 40 })), ({ numChoices, events }, sizes) => {
        const encoder = chatStream({ id: "x", createdS: 0, numChoices, includeUsage: true });
        const bytes = bytesOf(events.map((event) => encoder.encode(event)).join(""));
        const pieces: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; ) {
          const size = sizes.next().value;
          pieces.push(bytes.slice(at, at + size));
          at += size;
        }
        const back = eventsOf(pieces, { numChoices });
        const textOf = (list: readonly GenerateEvent[], index: number) =>
          list.map((e) => ((e.type === "delta" || e.type === "prompt") && e.index === index ? e.text : "")).join("");
        for (let i = 0; i < numChoices; i++) expect(textOf(back, i)).toBe(textOf(events, i));
        const ends = (list: readonly GenerateEvent[]) => list.filter(({ type }) => type === "finish");
        expect(ends(back)).toEqual(ends(events));
        expect(back.at(-1)).toMatchObject({ type: "done", usage: { promptTokens: 7, completionTokens: 3 } });
      }),
    );
  });

  test("events are well ordered until the first error, and nothing else is ever thrown", () => {
    const scrap = fc.oneof(
      fc.constantFrom<object | string>(
        ROLE,
        delta("x"),
        END,
        COUNTS,
        "[DONE]",
        delta(null),
        { error: "no" },
        "{",
        "null",
      ),
      fc.json(),
      fc.record({ choices: fc.array(fc.jsonValue()), usage: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(fc.array(scrap, { maxLength: 12 }), fc.integer({ min: 1, max: 3 }), (scraps, numChoices) => {
        const order = new EventOrder(numChoices);
        const upstream = upstreamEvents({ numChoices, wantsLogprobs: true });
        const decoder = new SseDecoder();
        try {
          for (const event of decoder.push(stream(...scraps))) for (const one of upstream.push(event)) order.check(one);
          for (const one of upstream.end()) order.check(one);
          order.end();
        } catch (cause) {
          if (!(cause instanceof UpstreamStreamError)) throw cause;
        }
      }),
      { numRuns: 500 },
    );
  });
});

function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (cause) {
    return cause;
  }
  return null;
}
