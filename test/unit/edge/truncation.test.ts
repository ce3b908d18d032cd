import fc from "fast-check";
import { expect, test } from "vitest";
import { admitTruncated } from "../../../src/edge/truncation.ts";
import { withoutOldest } from "../../../src/protocol/conversation-cuts.ts";
import { contextLengthExceeded, overloaded } from "../../../src/protocol/errors.ts";
import type { ChatMessage } from "../../../src/protocol/generate.ts";
import { caught } from "../protocol/caught.ts";

/** A token for each character. */
function admission(messages: readonly ChatMessage[], contextLength: number) {
  const open = new Set<object>();
  let numTries = 0;
  const admit = (numTruncated: number) => {
    numTries++;
    const numPromptTokens = withoutOldest(messages, numTruncated).reduce((sum, { content }) => sum + content.length, 0);
    if (numPromptTokens + 1 > contextLength) throw contextLengthExceeded(numPromptTokens, null, contextLength);
    const admitted = { numPromptTokens, numTruncated, abort: () => void open.delete(admitted) };
    open.add(admitted);
    return admitted;
  };
  return { admit, open, numTries: () => numTries };
}

const conversation = (numTurns: number, system = ""): ChatMessage[] => [
  ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
  ...Array.from({ length: numTurns }, (): ChatMessage[] => [
    { role: "user", content: "0123456789" },
    { role: "assistant", content: "0123456789" },
  ]).flat(),
  { role: "user", content: "question!!" },
];

const search = (messages: ChatMessage[], contextLength: number, numTruncatedBefore = 0, numAnswer = 10) => {
  const { admit, open, numTries } = admission(messages, contextLength);
  const { admitted, numTruncated } = admitTruncated({ messages, contextLength, numAnswer, numTruncatedBefore, admit });
  expect([...open]).toEqual([admitted]);
  expect(admitted.numTruncated).toBe(numTruncated);
  return { numTruncated, numPromptTokens: admitted.numPromptTokens, numTries: numTries() };
};

test("nothing is left out of what fits, with room for the answer", () => {
  expect(search(conversation(4), 100)).toMatchObject({ numTruncated: 0, numTries: 1 });
  expect(search(conversation(4), 99).numTruncated).toBeGreaterThan(0);
});

test("a new cut leaves a quarter free, and stays while it fits", () => {
  const cut = search(conversation(20, "system"), 200);
  expect(cut).toMatchObject({ numTruncated: 28, numPromptTokens: 6 + 120 + 10 });
  expect(search(conversation(21, "system"), 200, 28)).toMatchObject({ numTruncated: 28, numTries: 2 });
  expect(search(conversation(24, "system"), 200, 28).numTruncated).toBeGreaterThan(28);
  // A cut that is none here (the history was rewritten) is not used.
  expect(search(conversation(20, "system"), 200, 999).numTruncated).toBe(28);
});

test("the answer's room comes before the free quarter", () => {
  expect(search(conversation(20), 60, 0, 50)).toMatchObject({ numTruncated: 40, numPromptTokens: 10 });
});

test("where not even the last message fits, or another thing is wrong, the refusal is the model's", () => {
  const messages = conversation(3, "x".repeat(100));
  const { admit, open } = admission(messages, 90);
  const options = { messages, contextLength: 90, numAnswer: 10, numTruncatedBefore: 0 };
  expect(caught(() => admitTruncated({ ...options, admit }))).toMatchObject({ code: "context_length_exceeded" });
  const full = () => {
    throw overloaded(8, 8);
  };
  expect(caught(() => admitTruncated({ ...options, admit: full }))).toMatchObject({ status: 429 });
  expect(open.size).toBe(0);
});

test("what is left begins with the system's words and then a user's", () => {
  fc.assert(
    fc.property(fc.nat(30), fc.integer({ min: 30, max: 400 }), fc.boolean(), (numTurns, contextLength, hasSystem) => {
      const messages = conversation(numTurns, hasSystem ? "be kind" : "");
      const { numTruncated, numPromptTokens } = search(messages, contextLength);
      const left = withoutOldest(messages, numTruncated).map(({ role }) => role);
      expect(left.slice(0, hasSystem ? 2 : 1)).toEqual(hasSystem ? ["system", "user"] : ["user"]);
      expect(left.at(-1)).toBe("user");
      expect(numPromptTokens).toBeLessThan(contextLength);
    }),
  );
});
