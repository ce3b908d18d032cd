/** Vectors of prompts, however they are computed, and beside answers. */
import { describe, expect, it } from "vitest";
import type { Embeddings, EmbedRequest } from "../../../src/protocol/embed.ts";
import { BackendCrash } from "../../../src/serving/backend.ts";
import type { Pooling, TextEmbedding } from "../../../src/serving/embedding.ts";
import { EMBEDDING_WIDTH, embeddingsAlone, HashModelBackend } from "./hash-model.ts";
import { idsOf, readAll, request, textOf, vocabSize, type World, world } from "./world.ts";

const TEXTS = ["hello", "hello world", "a", "hello world and all that is in it"];

function asked(changes: Partial<EmbedRequest> & { texts?: string[] } = {}): EmbedRequest {
  const { texts = TEXTS, ...fields } = changes;
  const prompts = texts.map((text) => ({ kind: "text" as const, text }));
  return { requestId: "r1", model: "tiny", prompts, dimensions: null, truncate: false, cacheSalt: "", ...fields };
}

function finish(embedding: TextEmbedding): Embeddings {
  while (!embedding.hasEnded) if (embedding.step() === false) throw new Error("Open, and nothing to do.");
  return embedding.result();
}

/** In float64, of a sequence that has the machine to itself. */
function vectorAlone(tokens: number[], pooling: Pooling, dimensions = EMBEDDING_WIDTH): number[] {
  const rows = embeddingsAlone(tokens);
  const taken = pooling === "mean" ? rows : rows.slice(-1);
  const sum = Array.from({ length: dimensions }, (_, i) => taken.reduce((total, row) => total + row[i]!, 0));
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}

function expectVectors({ vectors }: Embeddings, texts: string[], pooling: Pooling, dimensions?: number): void {
  expect(vectors).toHaveLength(texts.length);
  for (const [i, text] of texts.entries()) {
    const wanted = vectorAlone(idsOf(text), pooling, dimensions);
    expect(vectors[i]).toHaveLength(wanted.length);
    for (const [at, value] of wanted.entries()) expect(vectors[i]![at]).toBeCloseTo(value, 6);
  }
}

describe.each(["mean", "last"] as const)("vectors, %s", (pooling) => {
  const made = (limits: Parameters<typeof world>[0] = {}, engine: Parameters<typeof world>[1] = {}): World =>
    world(limits, engine, pooling);

  it("are those of each prompt alone, whatever is cached", () => {
    const { model } = made();
    for (let round = 0; round < 2; round++) {
      const answer = finish(model.embed(asked()));
      expectVectors(answer, TEXTS, pooling);
      expect(answer).toMatchObject({
        model: "tiny",
        promptTokens: TEXTS.reduce((sum, text) => sum + idsOf(text).length, 0),
      });
    }
    expect(model.stats.numFreeBlocks).toBe(model.stats.numBlocks);
  });

  it("are the same in pieces", () => {
    expectVectors(finish(made({ maxBatchTokens: 3 }).model.embed(asked())), TEXTS, pooling);
  });

  it("are begun a few at a time, so that a long list passes through a short queue, beside answers", () => {
    const here = made({}, { numWaitingMax: 4, numRunningMax: 2 });
    const texts = Array.from({ length: 20 }, (_, i) => "abcdefghijklmnopqrstuvwxyz".slice(0, i + 1));
    const embedding = here.model.embed(asked({ texts }));
    const answer = here.model.generate(request({ requestId: "r2" }));
    expect(textOf(readAll(answer))).toBe(textOf(readAll(world().model.generate(request()))));
    expectVectors(finish(embedding), texts, pooling);
  });

  it("go on after the backend was lost", () => {
    const here = made({ maxBatchTokens: 5 });
    const embedding = here.model.embed(asked());
    embedding.step();
    here.backend.nextError = new BackendCrash("gone");
    embedding.step();
    expect(embedding.step()).toBe(false);
    here.model.replaceBackend(new HashModelBackend({ vocabSize, maxBatchTokens: 5 }));
    expectVectors(finish(embedding), TEXTS, pooling);
  });

  it("may be shorter", () => {
    expectVectors(finish(made().model.embed(asked({ dimensions: 3 }))), TEXTS, pooling, 3);
  });

  it("may be of as much as the context holds", () => {
    const texts = ["abc ".repeat(100)];
    const { model } = made();
    expect(() => model.embed(asked({ texts }))).toThrow(expect.objectContaining({ status: 400, param: "input" }));
    const cut = finish(model.embed(asked({ texts, truncate: true })));
    expect(cut.promptTokens).toBe(model.contextLength);
    const wanted = vectorAlone(idsOf(texts[0]!).slice(0, model.contextLength), pooling);
    for (const [at, value] of wanted.entries()) expect(cut.vectors[0]![at]).toBeCloseTo(value, 6);
  });
});

describe("a request for vectors", () => {
  it("is refused where it asks for what is not there", () => {
    const { model } = world();
    expect(() => model.embed(asked({ dimensions: EMBEDDING_WIDTH + 1 }))).toThrow(
      expect.objectContaining({ status: 400, param: "dimensions" }),
    );
    expect(() => model.embed(asked({ prompts: [{ kind: "tokens", tokens: [vocabSize] }] }))).toThrow(/Token id/);
  });

  it("fails alone with a step that was refused", () => {
    const here = world();
    const embedding = here.model.embed(asked());
    here.backend.nextError = new Error("refused");
    expect(() => finish(embedding)).toThrow(expect.objectContaining({ status: 500 }));
    expect(here.model.stats.numFreeBlocks).toBe(here.model.stats.numBlocks);
    expectVectors(finish(here.model.embed(asked())), TEXTS, "last");
  });

  it("frees everything when nobody wants it any more", () => {
    const { model } = world({ maxBatchTokens: 3 });
    const embedding = model.embed(asked());
    embedding.step();
    embedding.abort();
    expect([embedding.hasEnded, model.stats.numRunning, model.stats.numWaiting]).toEqual([true, 0, 0]);
    expect(model.stats.numFreeBlocks).toBe(model.stats.numBlocks);
  });
});

describe("tokens of a text", () => {
  it("come as ids, as texts and back", () => {
    const { model } = world();
    const tokenize = { requestId: "r1", model: "tiny", prompt: { kind: "text" as const, text: "ab" } };
    const whole = model.tokenize({ ...tokenize, addSpecialTokens: true, wantsTexts: true });
    expect(whole).toMatchObject({
      tokens: idsOf("ab"),
      texts: ["<bos>", "a", "b"],
      contextLength: model.contextLength,
    });
    const bare = model.tokenize({ ...tokenize, addSpecialTokens: false, wantsTexts: false });
    expect(bare).toMatchObject({ tokens: idsOf("ab").slice(1), texts: null });
    expect(model.detokenize({ requestId: "r1", model: "tiny", tokens: whole.tokens }).text).toBe("<bos>ab");
    expect(() => model.detokenize({ requestId: "r1", model: "tiny", tokens: [vocabSize] })).toThrow(/Token id/);
  });
});
