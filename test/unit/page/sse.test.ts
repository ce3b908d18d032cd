import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readSse, type SseEvent, SseParser } from "../../../src/page/net/sse.ts";
import { collect } from "./collect.ts";

function parse(...pieces: string[]): SseEvent[] {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

function dataOf(...pieces: string[]): string[] {
  return parse(...pieces).map((event) => event.data);
}

describe("fields, as in the examples of the standard", () => {
  test.each([
    ["one event", "data: a\n\n", ["a"]],
    ["two data lines are joined by LF", "data: a\ndata: b\n\n", ["a\nb"]],
    ["only the first space after the colon goes", "data:  a\n\n", [" a"]],
    ["no space is needed", "data:a\n\n", ["a"]],
    ["a data line without colon is empty", "data\n\n", [""]],
    ["comments are not events", ": ping\n\ndata: a\n\n: ping\n\n", ["a"]],
    ["unknown fields are ignored", "retry: 10\nfoo: bar\ndata: a\n\n", ["a"]],
    ["a byte order mark at the start goes", "\uFEFFdata: a\n\n", ["a"]],
    ["a colon may be in the data", 'data: {"a": 1}\n\n', ['{"a": 1}']],
    ["an event without its blank line is incomplete", "data: a\n\ndata: b\n", ["a"]],
    ["blank lines alone are no event", "\n\n\n", []],
  ])("%s", (_, stream, expected) => {
    expect(dataOf(stream)).toEqual(expected);
  });

  test("names the event, and keeps the last id for events that bring none", () => {
    expect(parse("id: 7\nevent: error\ndata: a\n\ndata: b\n\nid\ndata: c\n\n")).toEqual([
      { event: "error", data: "a", lastEventId: "7" },
      { event: "message", data: "b", lastEventId: "7" },
      { event: "message", data: "c", lastEventId: "" },
    ]);
  });
});

const eventList = fc.array(
  fc.record({
    lines: fc.array(
      fc.string({ unit: "grapheme" }).map((s) => s.replace(/[\r\n]/g, "")),
      { minLength: 1 },
    ),
  }),
);
const lineEnd = fc.constantFrom("\n", "\r", "\r\n");

test("gives the same events however the text is cut", () => {
  fc.assert(
    fc.property(eventList, lineEnd, fc.array(fc.nat()), (events, end, cuts) => {
      const stream = events.map(({ lines }) => lines.map((line) => `data: ${line}${end}`).join("") + end).join("");
      const places = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
      const pieces = [...places, stream.length].map((place, i) => stream.slice(places[i - 1] ?? 0, place));
      expect(dataOf(...pieces)).toEqual(events.map(({ lines }) => lines.join("\n")));
    }),
  );
});

test("gives the same events for every single cut of a stream with CRLF, pings and several bytes a character", () => {
  const stream = "\uFEFF: ping\r\n\r\ndata: é\r\ndata: 🐉\r\n\r\ndata: [DONE]\r\n\r\n";
  for (let cut = 0; cut <= stream.length; cut++) {
    expect(dataOf(stream.slice(0, cut), stream.slice(cut))).toEqual(["é\n🐉", "[DONE]"]);
  }
});

test("readSse decodes characters that a chunk of bytes cuts in two", async () => {
  const bytes = new TextEncoder().encode("data: 🐉é\n\n");
  for (let cut = 1; cut < bytes.length; cut++) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes.slice(0, cut));
        controller.enqueue(bytes.slice(cut));
        controller.close();
      },
    });
    const events = await collect(readSse(body));
    expect(events.map((event) => event.data)).toEqual(["🐉é"]);
  }
});

test("readSse cancels the body when its reader leaves early", async () => {
  let isCanceled = false;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: x\n\n")),
    cancel: () => {
      isCanceled = true;
    },
  });
  for await (const event of readSse(body)) {
    expect(event.data).toBe("x");
    break;
  }
  expect(isCanceled).toBe(true);
});
