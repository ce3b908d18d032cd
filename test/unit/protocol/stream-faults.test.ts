/**
 * What breaks real clients (measured: `openai`, `ai`, `@langchain/openai`, `@huggingface/inference`), turned round: no
 * stream of ours may ever do it, whatever an answer is made of. Each row names who breaks and how.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StreamEncoder } from "../../../src/protocol/answer-encoder.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { chatStream } from "../../../src/protocol/openai/chat-response.ts";
import { completionStream } from "../../../src/protocol/openai/completion-response.ts";
import { ResponseStream } from "../../../src/protocol/responses/stream.ts";
import { answers } from "./answers.ts";
import { eventStreams, fault } from "./events.ts";
import { FRAME as RESPONSE_FRAME, readResponseSse } from "./responses/frames.ts";
import { readSse } from "./sse-reader.ts";

interface ToolDelta {
  index?: number;
  id?: string;
  type?: string;
  function?: { name?: string; arguments?: string };
}

interface Delta {
  role?: string;
  content?: string;
  tool_calls?: ToolDelta[];
}

const FRAME = { id: "x-1", createdS: 1_700_000_000, includeUsage: true };

const streams = fc.oneof(
  eventStreams,
  answers.map((events) => ({ events, numChoices: 1 })),
);

function write(encoder: StreamEncoder, events: GenerateEvent[]): string {
  const text = events.map((event) => encoder.encode(event)).join("");
  encoder.end();
  return text;
}

/** The deltas of each choice of a chat, and how it ended. */
function choicesOf(events: GenerateEvent[], numChoices: number) {
  const { chunks } = readSse(write(chatStream({ ...FRAME, numChoices }), events));
  return Array.from({ length: numChoices }, (_, index) => {
    const own = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
    return { deltas: own.map(({ delta }) => delta as Delta), reasons: own.map(({ finish_reason }) => finish_reason) };
  });
}

const chats = (check: (choice: ReturnType<typeof choicesOf>[number]) => void) =>
  fc.assert(fc.property(streams, ({ events, numChoices }) => choicesOf(events, numChoices).forEach(check)));

describe("chat completions never send", () => {
  test("a choice whose first delta has no role (openai's .stream() throws)", () => {
    chats(({ deltas }) => {
      expect(deltas[0]!.role).toBe("assistant");
      expect(deltas.slice(1).every(({ role }) => role === undefined)).toBe(true);
    });
  });

  test("no finish_reason, or two (openai's .stream() throws, ai ends with an error)", () => {
    chats(({ reasons }) => {
      expect(reasons.at(-1)).toMatch(/^(stop|length|tool_calls)$/);
      expect(reasons.slice(0, -1).every((reason) => reason === null)).toBe(true);
    });
  });

  test("a first delta of a call without its index, id, type or name (openai throws or drops it, langchain: invalid)", () => {
    chats(({ deltas }) => {
      const seen = new Set<number>();
      for (const call of deltas.flatMap(({ tool_calls }) => tool_calls ?? [])) {
        expect(call.index).toBeTypeOf("number");
        expect(call.function!.arguments).toBeTypeOf("string");
        if (seen.has(call.index!)) continue;
        expect(call.index).toBe(seen.size);
        seen.add(call.index!);
        expect(call).toMatchObject({ type: "function", id: expect.stringMatching(/./), function: { arguments: "" } });
        expect(call.function!.name).toMatch(/./);
      }
    });
  });

  test("a name or an id of a call twice (others would put them together)", () => {
    chats(({ deltas }) => {
      const calls = deltas.flatMap(({ tool_calls }) => tool_calls ?? []);
      const ids = calls.flatMap(({ id }) => id ?? []);
      expect(new Set(ids).size).toBe(ids.length);
      expect(calls.filter((call) => call.function?.name !== undefined)).toHaveLength(ids.length);
    });
  });
});

const FORMATS: [string, (numChoices: number) => StreamEncoder][] = [
  ["chat completions", (numChoices) => chatStream({ ...FRAME, numChoices })],
  ["completions", (numChoices) => completionStream({ ...FRAME, numChoices })],
];

describe.each(FORMATS)("%s never send", (_name, encoder) => {
  test("another content-type (@huggingface/inference throws), or what a proxy would hold back", () => {
    expect(encoder(1).headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
  });

  test("an end without [DONE], or something behind it", () => {
    fc.assert(
      fc.property(eventStreams, ({ events, numChoices }) => {
        const text = write(encoder(numChoices), events);
        expect(text.match(/^data: \[DONE\]$/gm)).toHaveLength(1);
        expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
      }),
    );
  });

  test("a fault as `event: error` or as text that is no JSON (openai: SyntaxError)", () => {
    fc.assert(
      fc.property(eventStreams, fc.nat(), ({ events, numChoices }, cut) => {
        const broken = [...events.slice(0, cut % events.length), fault()];
        const text = write(encoder(numChoices), broken);
        expect(text).not.toMatch(/^event:/m);
        expect(readSse(text).error).toMatchObject({ code: "internal_error", param: null });
      }),
    );
  });

  test("a line break inside of an event, or a carriage return", () => {
    fc.assert(
      fc.property(eventStreams, ({ events, numChoices }) => {
        const text = write(encoder(numChoices), events);
        expect(text).not.toMatch(/\r/);
        for (const line of text.split("\n")) expect(line).toMatch(/^(data: [^\n]+)?$/);
      }),
    );
  });
});

describe("responses never send", () => {
  test("text of a part that was not opened (openai throws: missing content at index 0)", () => {
    fc.assert(
      fc.property(answers, (events) => {
        const open = new Set<string>();
        for (const event of readResponseSse(write(new ResponseStream(RESPONSE_FRAME), events))) {
          const place = `${event.item_id} ${event.content_index}`;
          if (event.type === "response.content_part.added") open.add(place);
          if (/^response\.(output|reasoning)_text\./.test(event.type)) expect(open).toContain(place);
        }
      }),
    );
  });

  test("an event without its type in an `event:` line, its number or its logprobs", () => {
    fc.assert(
      fc.property(answers, (events) => {
        for (const event of readResponseSse(write(new ResponseStream(RESPONSE_FRAME), events))) {
          if (event.type.startsWith("response.output_text.")) expect(event.logprobs).toEqual([]);
        }
      }),
    );
  });
});
