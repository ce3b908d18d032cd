import fc from "fast-check";
import { expect, test } from "vitest";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { encodeNdjson, NdjsonDecoder } from "../../../src/protocol/ndjson.ts";
import { delta, eventStreams, start, token } from "./events.ts";

/** Cuts bytes at the given places, empty pieces included. */
function cut(bytes: Uint8Array, places: number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, i) => bytes.slice(i === 0 ? 0 : ends[i - 1], end));
}

test("one value is one line of JSON", () => {
  expect(new TextDecoder().decode(encodeNdjson([start(), { a: "b\nc" }]))).toBe(
    '{"type":"start","model":"demo","promptTokens":7,"cachedTokens":4}\n{"a":"b\\nc"}\n',
  );
});

test("events survive any way of cutting and joining their bytes", () => {
  fc.assert(
    fc.property(eventStreams, fc.array(fc.nat(), { maxLength: 40 }), ({ events }, places) => {
      const decoder = new NdjsonDecoder<GenerateEvent>();
      const decoded = cut(encodeNdjson(events), places).flatMap((piece) => decoder.push(piece));
      decoder.end();
      expect(decoded).toEqual(events);
    }),
  );
});

test("byte by byte, with characters of four bytes and logprobs", () => {
  const events = [start(), delta("🦀é", 0, [token("🦀", -0.5, [["é", -1]])])];
  const decoder = new NdjsonDecoder<GenerateEvent>();
  const decoded = [...encodeNdjson(events)].flatMap((byte) => decoder.push(Uint8Array.of(byte)));
  expect(decoded).toEqual(events);
});

test("the bytes given may be reused by their owner", () => {
  const decoder = new NdjsonDecoder<object>();
  const buffer = new TextEncoder().encode('{"a":');
  decoder.push(buffer);
  buffer.fill(0);
  expect(decoder.push(new TextEncoder().encode("1}\n"))).toEqual([{ a: 1 }]);
});

test("an end within a line is told, an end after one is not", () => {
  const decoder = new NdjsonDecoder<object>();
  decoder.push(new TextEncoder().encode('{"a":1}\n{"b"'));
  expect(() => decoder.end()).toThrow("4 bytes");
  decoder.push(new TextEncoder().encode(":2}\n"));
  decoder.end();
});

test.each([["no JSON\n"], ["\n"], ["\u00ff".repeat(2)]])("a line that is no JSON throws: %j", (line) => {
  const decoder = new NdjsonDecoder<object>();
  expect(() => decoder.push(new TextEncoder().encode(`${line}\n`))).toThrow();
});
