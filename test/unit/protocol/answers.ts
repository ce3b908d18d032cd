/** Answers with thoughts and calls, made from what a test wants to say. */
import fc from "fast-check";
import type { FinishReason, GenerateEvent } from "../../../src/protocol/generate.ts";
import { delta, done, finish, start } from "./events.ts";
import { texts } from "./texts.ts";

export const reasoning = (text: string): GenerateEvent => ({
  type: "reasoning",
  index: 0,
  text,
  tokenIds: [1],
  tokens: null,
});
export const call = (number: number, name: string): GenerateEvent => ({
  type: "toolCall",
  index: 0,
  call: number,
  id: `call_${number}`,
  name,
});
export const json = (number: number, text: string): GenerateEvent => ({
  type: "toolArguments",
  index: 0,
  call: number,
  text,
});

/** Reasoning, text and calls in any order; text may even come while a call is open. */
export const answers: fc.Arbitrary<GenerateEvent[]> = fc
  .record({
    parts: fc.array(
      fc.oneof(
        texts.map((text) => ({ kind: "text" as const, text })),
        texts.map((text) => ({ kind: "reasoning" as const, text })),
        fc.array(texts, { maxLength: 3 }).map((pieces) => ({ kind: "call" as const, pieces })),
        texts.map((text) => ({ kind: "inside" as const, text })),
      ),
      { maxLength: 8 },
    ),
    reason: fc.constantFrom<FinishReason>("stop", "length", "tool_calls"),
  })
  .map(({ parts, reason }) => {
    let numCalls = 0;
    const events = parts.flatMap((part): GenerateEvent[] => {
      if (part.kind === "text") return [delta(part.text)];
      if (part.kind === "reasoning") return [reasoning(part.text)];
      if (part.kind === "inside") return [call(numCalls, "f"), delta(part.text), json(numCalls++, "{}")];
      const number = numCalls++;
      return [call(number, "f"), ...part.pieces.map((text) => json(number, text))];
    });
    return [start(), ...events, finish(0, reason), done()];
  });
