/** Event streams for tests, made from what a test wants to say. */
import fc from "fast-check";
import type { FinishReason, GenerateEvent, TokenLogprob } from "../../../src/protocol/generate.ts";
import { texts } from "./texts.ts";

export const USAGE = { promptTokens: 7, completionTokens: 3, cachedTokens: 4 };
const TIMINGS = { queueMs: 0, ttftMs: 5, totalMs: 9 };

export const start = (model = "demo"): GenerateEvent => ({ type: "start", model, promptTokens: 7, cachedTokens: 4 });
export const delta = (text: string, index = 0, tokens: TokenLogprob[] | null = null): GenerateEvent => ({
  type: "delta",
  index,
  text,
  tokenIds: [1],
  tokens,
});
export const prompt = (text: string, index = 0, tokens: TokenLogprob[] | null = null): GenerateEvent => ({
  type: "prompt",
  index,
  text,
  tokens,
});
export const reasoning = (text: string, index = 0, tokens: TokenLogprob[] | null = null): GenerateEvent => ({
  type: "reasoning",
  index,
  text,
  tokenIds: [1],
  tokens,
});
/** A whole call: what opens it, and its arguments in pieces. */
export const toolCall = (call: number, name: string, pieces: string[] = [], index = 0): GenerateEvent[] => [
  { type: "toolCall", index, call, id: `call_${index}_${call}`, name },
  ...pieces.map((text): GenerateEvent => ({ type: "toolArguments", index, call, text })),
];
export const finish = (
  index = 0,
  reason: FinishReason = "stop",
  stop: string | number | null = null,
): GenerateEvent => ({ type: "finish", index, reason, stop });
export const done = (): GenerateEvent => ({ type: "done", usage: USAGE, timings: TIMINGS });
export const fault = (): GenerateEvent => ({
  type: "error",
  status: 500,
  errorType: "server_error",
  code: "internal_error",
  param: null,
  message: "Internal error. Request id: r1",
});

/** One choice that says the pieces. */
export const answer = (...pieces: string[]): GenerateEvent[] => [
  start(),
  ...pieces.map((piece) => delta(piece)),
  finish(),
  done(),
];

export function token(text: string, logprob: number | null, top: [string, number][] = []): TokenLogprob {
  const bytes = (of: string) => [...new TextEncoder().encode(of)];
  return {
    id: 1,
    text,
    bytes: bytes(text),
    logprob,
    top: top.map(([word, value]) => ({ id: 2, text: word, bytes: bytes(word), logprob: value })),
  };
}

/** Streams of one choice that thinks, says something and calls tools. */
export const callingStreams: fc.Arbitrary<GenerateEvent[]> = fc
  .record({
    thoughts: fc.array(texts, { maxLength: 3 }),
    words: fc.array(texts, { maxLength: 3 }),
    calls: fc.array(fc.record({ name: fc.constantFrom("f", "g"), pieces: fc.array(texts, { maxLength: 4 }) }), {
      maxLength: 3,
    }),
  })
  .map(({ thoughts, words, calls }) => [
    start(),
    ...thoughts.map((text) => reasoning(text)),
    ...words.map((text) => delta(text)),
    ...calls.flatMap(({ name, pieces }, call) => toolCall(call, name, pieces)),
    finish(0, calls.length > 0 ? "tool_calls" : "stop"),
    done(),
  ]);

/** Complete, well-ordered streams of 1 to 4 choices with their events interleaved. */
export const eventStreams: fc.Arbitrary<{ numChoices: number; events: GenerateEvent[] }> = fc
  .array(
    fc.record({
      echo: fc.option(texts),
      pieces: fc.array(texts, { maxLength: 6 }),
      reason: fc.constantFrom<FinishReason>("stop", "length"),
      stop: fc.constantFrom(null, "###", 5),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .chain((choices) => {
    const lanes = choices.map(({ echo, pieces, reason, stop }, index) => [
      ...(echo === null ? [] : [prompt(echo, index)]),
      ...pieces.map((piece) => delta(piece, index)),
      finish(index, reason, stop),
    ]);
    const numEvents = lanes.reduce((sum, lane) => sum + lane.length, 0);
    return fc.array(fc.nat(), { minLength: numEvents, maxLength: numEvents }).map((picks) => {
      const rest = lanes.map((lane) => [...lane]);
      const middle = picks.map((pick) => {
        const open = rest.filter((lane) => lane.length > 0);
        return open[pick % open.length]!.shift()!;
      });
      return { numChoices: lanes.length, events: [start(), ...middle, done()] };
    });
  });
