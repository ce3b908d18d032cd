import { describe, expect, it } from "vitest";
import { ApiError } from "../../../src/protocol/errors.ts";
import { EventOrder } from "../../../src/protocol/event-order.ts";
import type { GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import { BackendCrash } from "../../../src/serving/backend.ts";
import { createLanguageModel } from "../../../src/serving/served-model.ts";
import { GREEDY, generateAlone, HashModelBackend } from "./hash-model.ts";
import { idsOf, readAll, readAllLater, request, textOf, tokenizer, vocabSize, world } from "./world.ts";

describe("readers", () => {
  it("drive each other, and one that does not read costs nobody but its own bounded queue", () => {
    const { model } = world();
    const idle = model.generate(request({ requestId: "idle", maxTokens: 30 }));
    const reader = model.generate(request({ prompts: [{ kind: "text", text: "abc" }], maxTokens: 60 }));
    const events = readAll(reader);
    expect(textOf(events)).toBe(tokenizer.decode(generateAlone(idsOf("abc"), { numTokens: 60, vocabSize })));
    // Both prompts in one step, then 59 more tokens: the idle one came along and needs no further step.
    expect(model.stats.numSteps).toBe(60);
    const queued: GenerateEvent[] = [];
    for (let event = idle.poll(); event !== null; event = idle.poll()) queued.push(event);
    expect(queued.length).toBeLessThanOrEqual(30 + 3);
    expect(queued.at(-1)!.type).toBe("done");
    expect(textOf(queued)).toBe(tokenizer.decode(generateAlone(idsOf("hello"), { numTokens: 30, vocabSize })));
  });

  it("that go away free place and blocks at once, at any time and any number of times", () => {
    for (let numRead = 0; numRead < 6; numRead++) {
      const { model } = world({ numBlocks: 40 });
      const generation = model.generate(request({ n: 3 }));
      for (let i = 0; i < numRead; i++) generation.next();
      generation.abort();
      generation.abort();
      const { numRunning, numWaiting, numFreeBlocks } = model.stats;
      expect([numRunning, numWaiting, numFreeBlocks]).toEqual([0, 0, 40]);
      expect([generation.next(), generation.poll(), model.step()]).toEqual([null, null, false]);
      expect(generation.transcript().tokens.slice(0, 6)).toEqual(idsOf("hello"));
    }
  });

  it("may take their steps one by one", () => {
    const { model } = world({}, { tokenBudget: 2 });
    const generation = model.generate(request());
    let numSteps = 0;
    while (generation.poll() === null) {
      expect(model.step()).toBe(true);
      numSteps++;
    }
    expect(numSteps).toBe(1);
    while (!generation.hasEnded) model.step();
    expect(model.step()).toBe(false);
    expect(readAll(generation).at(-1)!.type).toBe("done");
  });
});

describe("an answer that is ended early", () => {
  it("is whole with what it has, also before it began and with several choices", () => {
    for (const numSteps of [0, 1, 4]) {
      const { model } = world({ numBlocks: 40 });
      const generation = model.generate(request({ n: 2, maxTokens: 30 }));
      for (let i = 0; i < numSteps; i++) model.step();
      generation.endEarly();
      generation.endEarly();
      const events = readAll(generation);
      const order = new EventOrder(2);
      for (const event of events) order.check(event);
      order.end();
      expect(events.filter(({ type }) => type === "finish")).toEqual(
        [0, 1].map((index) => ({ type: "finish", index, reason: "length", stop: null })),
      );
      expect(events.at(-1)).toMatchObject({ type: "done", usage: { completionTokens: 2 * numSteps } });
      expect([model.stats.numFreeBlocks, model.step()]).toEqual([40, false]);
    }
  });
});

describe("what events hold", () => {
  it("counts those not read, or all where they are kept; a dropped answer is its error", () => {
    const { model } = world();
    const read = model.generate(request());
    const kept = model.generate(request({ requestId: "kept" }), { keepsEvents: true });
    while (model.step());
    expect(read.heldBytes).toBeGreaterThan(8 * 250);
    expect(kept.heldBytes).toBe(read.heldBytes);
    const before = kept.heldBytes;
    readAll(read);
    readAll(kept);
    expect([read.heldBytes, kept.heldBytes]).toEqual([0, before]);
    const dropped = model.generate(request());
    while (model.step());
    dropped.drop(new ApiError({ status: 429, type: "server_busy", code: "slow", param: null, message: "Slow." }));
    expect(readAll(dropped).map(({ type }) => type)).toEqual(["error"]);
    expect(dropped.isDrained).toBe(true);
  });
});

describe("faults", () => {
  it("of a step become one error event under the request's id, and the next request works", () => {
    const here = world({ numBlocks: 40 });
    const generation = here.model.generate(
      request({ n: 2, prompts: ["a", "b"].map((text) => ({ kind: "text", text })) }),
    );
    here.backend.nextError = new Error("secret detail");
    const events = readAll(generation);
    expect(events.map(({ type }) => type)).toEqual(["start", "error"]);
    expect(events[1]).toMatchObject({ status: 500, code: "internal_error", message: "Internal error. Request id: r1" });
    expect(here.faults).toEqual([["r1"]]);
    expect(here.model.stats.numFreeBlocks).toBe(40);
    expect(readAll(here.model.generate(request())).at(-1)!.type).toBe("done");
  });

  it("that lose the backend let all readers wait for the next one, and then get the same text", async () => {
    const here = world({}, { numRunningMax: 1 });
    const [first, second] = [here.model.generate(request()), here.model.generate(request())];
    for (let i = 0; i < 3; i++) first.next();
    here.backend.nextError = new BackendCrash("unreachable executed");
    here.model.step();
    expect([here.model.isAlive, here.crashes.length]).toEqual([false, 1]);
    const later = [readAllLater(first), readAllLater(second)];
    here.model.replaceBackend(new HashModelBackend({ vocabSize }));
    const text = tokenizer.decode(generateAlone(idsOf("hello"), { numTokens: 8, vocabSize }));
    const [rest, whole] = (await Promise.all(later)).map((events) => textOf(events));
    expect(whole).toBe(text);
    expect(text.endsWith(rest!)).toBe(true);
    expect(rest!.length).toBe(text.length - 2);
  });

  it("that cannot be mended end the waiting readers", async () => {
    const here = world({}, { numRunningMax: 1 });
    const [first, second] = [here.model.generate(request()), here.model.generate(request())];
    here.backend.nextError = new BackendCrash("unreachable executed");
    here.model.step();
    const later = [readAllLater(first), readAllLater(second)];
    here.model.shutdown(new Error("no memory"));
    for (const events of await Promise.all(later)) expect(events.at(-1)!.type).toBe("error");
    expect(() => here.model.generate(request())).toThrow("no memory");
  });
});

describe("an asynchronous backend", () => {
  it("gives the same texts to concurrent readers", async () => {
    const here = world();
    here.backend.isAsynchronous = true;
    const texts = ["abc", "hello", "the quick brown fox"];
    const all = await Promise.all(
      texts.map((text) => readAllLater(here.model.generate(request({ prompts: [{ kind: "text", text }] })))),
    );
    for (const [i, text] of texts.entries()) {
      expect(textOf(all[i]!)).toBe(tokenizer.decode(generateAlone(idsOf(text), { numTokens: 8, vocabSize })));
    }
    // The first reader's step was under way when the others came; from then on all three share every step.
    expect(here.model.stats.numSteps).toBe(9);
  });
});

describe("a request that cannot be served", () => {
  const cases: [string, Partial<GenerateRequest>, string, string][] = [
    [
      "a token id beyond the vocabulary",
      { prompts: [{ kind: "tokens", tokens: [4, vocabSize] }] },
      "prompt",
      `0 to ${vocabSize - 1}`,
    ],
    ["a token id that is no integer", { prompts: [{ kind: "tokens", tokens: [1.5] }] }, "prompt", "Token id 1.5"],
    ["an empty prompt", { prompts: [{ kind: "tokens", tokens: [] }] }, "prompt", "0 tokens and needs at least 1"],
    ["a bias on an unknown id", { sampling: { ...GREEDY, logitBias: [[-1, 5]] } }, "logit_bias", "Token id -1"],
    ["an unknown stop id", { stopTokenIds: [999] }, "stop_token_ids", "Token id 999"],
  ];
  for (const [name, changes, param, message] of cases) {
    it(`is refused for ${name}`, () => {
      const { model } = world();
      expect(() => model.generate(request(changes))).toThrow(message);
      expect(() => model.generate(request(changes))).toThrow(expect.objectContaining({ status: 400, param }));
      expect(model.stats.numWaiting).toBe(0);
    });
  }

  it("is refused for a chat where the model has no template", () => {
    const model = createLanguageModel({
      id: "base",
      backend: new HashModelBackend({ vocabSize }),
      tokenizer,
      embedding: { width: 4, pooling: "last" },
      encodeChat: null,
      clock: () => 0,
      random: () => 0,
      limits: { numWaitingMax: 1 },
      onCrash: () => {},
    });
    expect(() => model.generate(request({ prompts: [{ kind: "chat", messages: [] }] }))).toThrow("no chat template");
  });

  it("is refused whole when its prompts do not all fit the queue", () => {
    const { model } = world({}, { numWaitingMax: 1, numRunningMax: 1 });
    const prompts = ["a", "b", "c"].map((text) => ({ kind: "text" as const, text }));
    expect(() => model.generate(request({ prompts }))).toThrow(expect.objectContaining({ status: 429 }));
    expect(model.stats.numWaiting).toBe(0);
    expect(readAll(model.generate(request())).at(-1)!.type).toBe("done");
  });
});
