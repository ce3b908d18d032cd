import { describe, expect, test } from "vitest";
import type { TokenLogprob } from "../../../src/protocol/generate.ts";
import { chatLogprobs } from "../../../src/protocol/openai/chat-logprobs.ts";
import { CompletionLogprobsEncoder } from "../../../src/protocol/openai/completion-logprobs.ts";
import { token } from "./events.ts";

/** A token whose bytes are only a part of a character. */
const part = (...bytes: number[]): TokenLogprob => ({
  id: 9,
  text: "\uFFFD",
  bytes,
  logprob: -1,
  top: [{ id: 9, text: "\uFFFD", bytes, logprob: -1 }],
});

describe("chat", () => {
  test("none were asked for", () => {
    expect(chatLogprobs(null)).toBeNull();
  });

  test("each token with its exact bytes and alternatives", () => {
    expect(chatLogprobs([token("é", -0.5, [["e", -2]])])).toEqual({
      content: [
        {
          token: "é",
          logprob: -0.5,
          bytes: [0xc3, 0xa9],
          top_logprobs: [{ token: "e", logprob: -2, bytes: [0x65] }],
        },
      ],
      refusal: null,
    });
  });

  test("minus infinity is a number that JSON has", () => {
    const logprobs = chatLogprobs([token("a", Number.NEGATIVE_INFINITY)])!;
    expect(JSON.parse(JSON.stringify(logprobs)).content[0].logprob).toBe(-9999);
  });
});

describe("completions", () => {
  test("none were asked for", () => {
    expect(new CompletionLogprobsEncoder().encode(null)).toBeNull();
  });

  test("the first prompt token has neither logprob nor alternatives, others have the chosen one among them", () => {
    expect(new CompletionLogprobsEncoder().encode([token("A", null), token("b", -3, [["c", -0.1]])])).toEqual({
      tokens: ["A", "b"],
      token_logprobs: [null, -3],
      top_logprobs: [null, { c: -0.1, b: -3 }],
      text_offset: [0, 1],
    });
  });

  test("offsets count code points and go on from piece to piece", () => {
    const encoder = new CompletionLogprobsEncoder();
    expect(encoder.encode([token("é🦀", -1), token("x", -1)])!.text_offset).toEqual([0, 2]);
    expect(encoder.encode([token("yz", -1), token("", -1), token("!", -1)])!.text_offset).toEqual([3, 5, 5]);
  });

  test("a character in pieces: each piece is named by its bytes and sits where the character does", () => {
    const crab = [part(0xf0, 0x9f), part(0xa6), part(0x80)];
    const logprobs = new CompletionLogprobsEncoder().encode([token("a", -1), ...crab, token("b", -1)])!;
    expect(logprobs.tokens).toEqual(["a", "bytes:\\xf0\\x9f", "bytes:\\xa6", "bytes:\\x80", "b"]);
    expect(logprobs.text_offset).toEqual([0, 1, 1, 1, 2]);
    expect(logprobs.top_logprobs[2]).toEqual({ "bytes:\\xa6": -1 });
  });

  test("a token named like a property of objects is a key like any other", () => {
    const { top_logprobs } = new CompletionLogprobsEncoder().encode([token("__proto__", -1)])!;
    expect(JSON.stringify(top_logprobs)).toBe('[{"__proto__":-1}]');
  });
});
