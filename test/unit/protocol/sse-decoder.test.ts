/** Server-sent events of other servers: every way to end a line, to cut the bytes, and to say nothing. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SSE_EVENT_CHARS_MAX, SseDecoder, type SseEvent } from "../../../src/protocol/sse-decoder.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

function decoded(pieces: readonly Uint8Array[]): SseEvent[] {
  const decoder = new SseDecoder();
  return [...pieces.flatMap((piece) => decoder.push(piece)), ...decoder.end()];
}

const data = (...texts: string[]): SseEvent[] => texts.map((text) => ({ name: null, data: text }));

describe("decodes", () => {
  test.each<[string, string, SseEvent[]]>([
    ["events with LF", "data: a\n\ndata: b\n\n", data("a", "b")],
    ["events with CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", data("a", "b")],
    ["events with CR", "data: a\r\rdata: b\r\r", data("a", "b")],
    ["a field without its space, as TGI writes it", "data:a\n\n", data("a")],
    ["only one space as the field's", "data:  a\n\n", data(" a")],
    ["no comments", ": ping\n\n:\n\ndata: a\n\n", data("a")],
    ["a comment between an event's lines", "data: a\n: ping\ndata: b\n\n", data("a\nb")],
    ["several lines as one text", 'data: {\ndata: "x":1}\n\n', data('{\n"x":1}')],
    ["the name of an event", "event: error\ndata: no\n\ndata: a\n\n", [{ name: "error", data: "no" }, ...data("a")]],
    ["nothing from other fields", "id: 7\nretry: 10\nfoo\ndata: a\n\n", data("a")],
    ["a last event without its blank line", "data: a\n\ndata: [DONE]", data("a", "[DONE]")],
    ["an event without data as none", "event: ping\n\ndata: a\n\n", data("a")],
    ["a byte order mark as none", "\uFEFFdata: a\n\n", data("a")],
    ["nothing", "", []],
  ])("%s", (_name, text, events) => {
    expect(decoded([bytesOf(text)])).toEqual(events);
  });

  test("the same events however the bytes are cut, also within a character or a line's end", () => {
    const line = fc.constantFrom("data: ä 😀", "data:{}", ": ping", "event: x", "", "data", "data: 漢");
    const end = fc.constantFrom("\n", "\r\n", "\r");
    const text = fc.array(fc.tuple(line, end)).map((lines) => lines.flat().join(""));
    fc.assert(
      fc.property(text, fc.array(fc.nat(200)), (whole, cuts) => {
        const bytes = bytesOf(whole);
        const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, i) => bytes.slice(at[i], end));
        expect(decoded(pieces)).toEqual(decoded([bytes]));
      }),
    );
  });
});

test("a line or an event without end is refused before it fills the memory", () => {
  const piece = bytesOf("x".repeat(100_000));
  const push = (beginning: string, between: string) => {
    const decoder = new SseDecoder();
    decoder.push(bytesOf(beginning));
    for (let i = 0; i <= SSE_EVENT_CHARS_MAX / 100_000; i++) {
      decoder.push(piece);
      decoder.push(bytesOf(between));
    }
  };
  expect(() => push("data: ", "")).toThrow("more than 1000000 characters");
  expect(() => push("data: ", "\ndata: ")).toThrow("more than 1000000 characters");
  expect(() => push("data: ", "\n\ndata: ")).not.toThrow();
});
