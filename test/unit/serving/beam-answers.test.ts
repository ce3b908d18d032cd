/** A request for beams as its client sees it: the best answers as choices, logprobs, ends, refusals. */
import { describe, expect, it } from "vitest";
import { caught } from "../protocol/caught.ts";
import { searchAlone } from "./beam-truth.ts";
import { END_ID } from "./byte-tokenizer.ts";
import { idsOf, only, readAll, readAllLater, request, textOf, tokenizer, vocabSize, world } from "./world.ts";

const BEAMS = { width: 3, lengthPenalty: 1, stopsEarly: false };
const truthOf = (text: string, endTokens: number[] = [], maxTokens = 8, width = 3) =>
  searchAlone({ prompt: idsOf(text), width, lengthPenalty: 1, maxTokens, endTokens, vocabSize });

describe("an answer of beams", () => {
  it("has the n best, best first, for each prompt", () => {
    const prompts = ["hello", "a cat"].map((text) => ({ kind: "text", text }) as const);
    const events = readAll(world().model.generate(request({ prompts, n: 2, beams: BEAMS })));
    for (const [promptIndex, { text }] of prompts.entries()) {
      for (const [i, { tokens }] of truthOf(text).slice(0, 2).entries()) {
        expect(textOf(events, promptIndex * 2 + i)).toBe(tokenizer.decode(tokens));
      }
    }
    expect(only(events, "finish").map(({ reason }) => reason)).toEqual(["length", "length", "length", "length"]);
    expect(only(events, "done")[0]!.usage).toMatchObject({ promptTokens: 12, completionTokens: 32 });
  });

  it("ends at end-of-generation and stop tokens, which are counted and not shown", () => {
    const stops = [5, 9, 12, 15, 20, 25];
    const events = readAll(
      world().model.generate(request({ n: 3, beams: BEAMS, ignoreEos: false, stopTokenIds: stops })),
    );
    const truth = truthOf("hello", [END_ID, ...stops]);
    expect(truth.some(({ reason }) => reason === "stop")).toBe(true);
    for (const [i, { tokens, reason }] of truth.entries()) {
      const last = tokens.at(-1)!;
      const isStopped = reason === "stop";
      expect(textOf(events, i)).toBe(tokenizer.decode(isStopped ? tokens.slice(0, -1) : tokens));
      expect(only(events, "finish")[i]).toEqual({
        type: "finish",
        index: i,
        reason,
        stop: isStopped && last !== END_ID ? last : null,
      });
    }
    const numTokens = truth.reduce((sum, { tokens }) => sum + tokens.length, 0);
    expect(only(events, "done")[0]!.usage.completionTokens).toBe(numTokens);
  });

  it("has logprobs of its own tokens, and of an echoed prompt", () => {
    const events = readAll(world().model.generate(request({ n: 2, beams: BEAMS, logprobs: 1, echo: true })));
    expect(only(events, "prompt").map(({ text, tokens }) => [text, tokens?.length])).toEqual([
      ["hello", 6],
      ["hello", 6],
    ]);
    for (const [i, { score }] of truthOf("hello").slice(0, 2).entries()) {
      const tokens = only(events, "delta").flatMap((event) => (event.index === i ? event.tokens! : []));
      const sum = tokens.reduce((total, { logprob }) => total + logprob!, 0);
      expect(sum / (6 + 8)).toBeCloseTo(score, 10);
      expect(tokens.every(({ top }) => top.length === 1)).toBe(true);
    }
  });

  it("is the same from a backend that answers later", async () => {
    const here = world();
    here.backend.isAsynchronous = true;
    const events = await readAllLater(here.model.generate(request({ n: 3, beams: BEAMS })));
    expect([0, 1, 2].map((i) => textOf(events, i))).toEqual(
      truthOf("hello").map(({ tokens }) => tokenizer.decode(tokens)),
    );
  });

  it("that is ended early has the best beams of that moment", () => {
    const { model } = world();
    const generation = model.generate(request({ n: 2, beams: BEAMS }));
    for (let i = 0; i < 4; i++) generation.step();
    generation.endEarly();
    const events = readAll(generation);
    expect(textOf(events)).toBe(tokenizer.decode(truthOf("hello", [], 4)[0]!.tokens));
    expect(only(events, "finish").map(({ reason }) => reason)).toEqual(["length", "length"]);
    expect(model.stats.numFreeBlocks).toBe(model.stats.numBlocks);
    const soon = model.generate(request({ n: 2, beams: BEAMS }));
    soon.endEarly();
    expect(readAll(soon).map(({ type }) => type)).toEqual(["start", "finish", "finish", "done"]);
  });
});

describe("an engine too small for a search", () => {
  it("refuses it before it begins", () => {
    const small = world({ numBlocks: 10, blockTokens: 4 }, { numRunningMax: 4 }).model;
    const refusal = (changes: object) => caught(() => small.generate(request({ beams: BEAMS, ...changes })));
    expect(refusal({ beams: { ...BEAMS, width: 5 } })).toMatchObject({ status: 400, param: "n" });
    expect(refusal({ beams: { ...BEAMS, width: 5 } }).message).toContain("at most 4 sequences at once");
    // The prompt's one full block is everybody's; of the other nine each beam has three, for 2 + 10 tokens.
    expect(refusal({ maxTokens: 11 })).toMatchObject({ status: 400, param: "max_tokens" });
    expect(refusal({ maxTokens: 11 }).message).toContain("room for 10");
    expect(readAll(small.generate(request({ beams: BEAMS, maxTokens: 10 }))).at(-1)!.type).toBe("done");
    const events = readAll(small.generate(request({ beams: BEAMS, maxTokens: null })));
    expect(only(events, "done")[0]!.usage.completionTokens).toBe(10);
    const wide = world({ maxBatchSequences: 32 }).model;
    const message = caught(() => wide.generate(request({ beams: { ...BEAMS, width: 17 } }))).message;
    expect(message).toContain("looks at 34 tokens, and this model knows 33");
  });
});
