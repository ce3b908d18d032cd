import { describe, expect, it } from "vitest";
import type { ChatMessage, GenerateEvent, GenerateRequest, TokenLogprob } from "../../../src/protocol/generate.ts";
import { BackendCrash, type BackendLimits } from "../../../src/serving/backend.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import type { Generation, Transcript } from "../../../src/serving/language-model.ts";
import { choiceKey, seedLanes } from "../../../src/serving/rng-key.ts";
import { createLanguageModel, type ServedModel } from "../../../src/serving/served-model.ts";
import { ByteTokenizer, END_ID } from "./byte-tokenizer.ts";
import { GREEDY, generateAlone, HashModelBackend, scoreAlone } from "./hash-model.ts";

const tokenizer = new ByteTokenizer([..."abcdefghijklmnopqrstuvwxyz ", [0xc3], [0xa9]]);
const { vocabSize } = tokenizer;

interface World {
  model: ServedModel;
  backend: HashModelBackend;
  /** What the injected clock says; each step of the backend takes 10 ms. */
  nowMs: number;
  crashes: unknown[];
  faults: string[][];
}

function world(limits: Partial<BackendLimits> = {}, engineLimits: Partial<EngineLimits> = {}): World {
  const backend = new HashModelBackend({ vocabSize, ...limits });
  const random = [0.1, 0.2, 0.3, 0.4];
  const here: World = { backend, nowMs: 1000, crashes: [], faults: [], model: undefined as unknown as ServedModel };
  here.model = createLanguageModel({
    id: "tiny",
    backend,
    tokenizer,
    encodeChat,
    clock: () => here.nowMs,
    random: () => random.shift()!,
    limits: { numWaitingMax: 8, ...engineLimits },
    onCrash: (error) => here.crashes.push(error),
    onFault: (_, requestIds) => here.faults.push(requestIds),
  });
  backend.onStep = () => {
    here.nowMs += 10;
  };
  return here;
}

/** `<user>…<bot>…<end>`, continuing a transcript where the text allows it. */
function encodeChat(messages: readonly ChatMessage[], transcript?: Transcript): Transcript {
  const turns = messages.map(({ role, content }) => (role === "user" ? `<user>${content}` : `<bot>${content}<end>`));
  const text = `${turns.join("")}<bot>`;
  const known = transcript !== undefined && text.startsWith(transcript.text) ? transcript : { text: "", tokens: [1] };
  const rest = tokenizer.encode(text.slice(known.text.length), { addSpecialTokens: false, parseSpecial: true });
  return { text, tokens: [...known.tokens, ...rest] };
}

function request(changes: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    requestId: "r1",
    model: "tiny",
    prompts: [{ kind: "text", text: "hello" }],
    n: 1,
    sampling: GREEDY,
    maxTokens: 8,
    stopStrings: [],
    stopTokenIds: [],
    ignoreEos: true,
    logprobs: null,
    echo: false,
    cacheSalt: "",
    ...changes,
  };
}

function readAll(generation: Generation): GenerateEvent[] {
  const events: GenerateEvent[] = [];
  for (;;) {
    const event = generation.next();
    if (event instanceof Promise) throw new Error("A synchronous backend gave a promise.");
    if (event === null) return events;
    events.push(event);
  }
}

async function readAllLater(generation: Generation): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for (let event = await generation.next(); event !== null; event = await generation.next()) events.push(event);
  return events;
}

function textOf(events: readonly GenerateEvent[], index = 0): string {
  return events.map((event) => (event.type === "delta" && event.index === index ? event.text : "")).join("");
}

function only<T extends GenerateEvent["type"]>(events: readonly GenerateEvent[], type: T) {
  return events.filter((event): event is Extract<GenerateEvent, { type: T }> => event.type === type);
}

/** Prompt ids as `generate` makes them of a text. */
function idsOf(text: string): number[] {
  return tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: true });
}

describe("a generation", () => {
  it("tells start, deltas, finish and done, and then nothing", () => {
    const here = world();
    const generation = here.model.generate(request());
    expect([generation.requestId, generation.numPromptTokens]).toEqual(["r1", 6]);
    expect(generation.poll()).toBeNull();
    here.nowMs += 5;
    const events = readAll(generation);
    expect(events[0]).toEqual({ type: "start", model: "tiny", promptTokens: 6, cachedTokens: 0 });
    expect(events.at(-2)).toEqual({ type: "finish", index: 0, reason: "length", stop: null });
    expect(events.at(-1)).toEqual({
      type: "done",
      usage: { promptTokens: 6, completionTokens: 8, cachedTokens: 0 },
      timings: { queueMs: 5, ttftMs: 15, totalMs: 85 },
    });
    const ids = generateAlone(idsOf("hello"), { numTokens: 8, vocabSize });
    expect(textOf(events)).toBe(tokenizer.decode(ids));
    expect(only(events, "delta").flatMap(({ tokenIds }) => tokenIds)).toEqual(ids);
    expect([generation.next(), generation.poll()]).toEqual([null, null]);
  });

  it("answers several prompts with several choices each, as each alone", () => {
    const sampling = { ...GREEDY, temperature: 1, seed: -12345678901 };
    const prompts = ["one", "two", "three"];
    const events = readAll(
      world().model.generate(
        request({ prompts: prompts.map((text) => ({ kind: "text", text })), n: 2, sampling, maxTokens: 5 }),
      ),
    );
    for (const [promptIndex, prompt] of prompts.entries()) {
      for (const i of [0, 1]) {
        const rngKey = choiceKey(seedLanes(-12345678901), i);
        const ids = generateAlone(idsOf(prompt), { numTokens: 5, vocabSize, sampling, rngKey });
        expect(textOf(events, promptIndex * 2 + i)).toBe(tokenizer.decode(ids));
      }
    }
    expect(
      only(events, "finish")
        .map(({ index }) => index)
        .sort(),
    ).toEqual([0, 1, 2, 3, 4, 5]);
    expect(only(events, "done")[0]!.usage).toEqual({ promptTokens: 14, completionTokens: 30, cachedTokens: 0 });
    for (const [i, event] of events.entries()) {
      if (event.type === "delta") {
        expect(events.findIndex((other) => other.type === "finish" && other.index === event.index)).toBeGreaterThan(i);
      }
    }
  });

  it("ends with the context where no limit is set, and says so where a limit cannot fit", () => {
    const { model } = world({ contextLength: 20 });
    const events = readAll(model.generate(request({ maxTokens: null })));
    expect(only(events, "done")[0]!.usage.completionTokens).toBe(14);
    expect(only(events, "finish")[0]!.reason).toBe("length");
    expect(() => model.generate(request({ maxTokens: 15 }))).toThrow("context is 20 tokens, but the prompt has 6 and");
    expect(() =>
      model.generate(request({ prompts: [{ kind: "text", text: "a".repeat(19) }], maxTokens: null })),
    ).toThrow("the prompt has 20 and the request asks for at least 1 new token");
    // The pool is the limit where it is smaller than the model's context.
    expect(world({ contextLength: 999, numBlocks: 5, blockTokens: 4 }).model.contextLength).toBe(20);
  });

  it("counts what it found in the cache", () => {
    const { model } = world();
    const text = "the quick brown fox jumps";
    const first = readAll(model.generate(request({ prompts: [{ kind: "text", text }] })));
    const second = readAll(model.generate(request({ prompts: [{ kind: "text", text }], n: 3 })));
    expect(only(second, "start")[0]!.cachedTokens).toBe(24);
    expect(only(second, "done")[0]!.usage).toEqual({ promptTokens: 26, completionTokens: 24, cachedTokens: 24 });
    for (const index of [0, 1, 2]) expect(textOf(second, index)).toBe(textOf(first));
    const { prefixQueriedTokens, prefixHitTokens } = model.stats;
    expect([prefixQueriedTokens, prefixHitTokens]).toEqual([52, 24]);
    const salted = readAll(model.generate(request({ prompts: [{ kind: "text", text }], cacheSalt: "other" })));
    expect(only(salted, "start")[0]!.cachedTokens).toBe(0);
  });
});

describe("logprobs and echo", () => {
  const prompt = "hello world";
  const ids = idsOf(prompt);
  const scored = (scores: ReturnType<typeof scoreAlone>): TokenLogprob[] => {
    const record = (id: number, logprob: number | null) => {
      const bytes = [...tokenizer.tokenBytes(id)];
      const text = bytes.length === 0 ? tokenizer.decode([id], { keepControl: true }) : tokenizer.decode([id]);
      return { id, text, bytes, logprob };
    };
    return ids.map((id, position) => {
      const row = scores[position - 1];
      const top = (row?.top ?? []).map((one) => record(one.token, one.logprob) as TokenLogprob["top"][number]);
      return { ...record(id, row?.logprob ?? null), top };
    });
  };

  it("scores every prompt token, in any chunks, whatever is cached", () => {
    for (const tokenBudget of [1, 3, 5, 64]) {
      const { model } = world({}, { tokenBudget });
      for (let turn = 0; turn < 2; turn++) {
        const events = readAll(
          model.generate(request({ prompts: [{ kind: "text", text: prompt }], echo: true, logprobs: 2 })),
        );
        const wanted = scored(scoreAlone(ids, vocabSize, 2));
        expect(events[1]).toEqual({ type: "prompt", index: 0, text: prompt, tokens: wanted });
        expect(only(events, "done")[0]!.usage.cachedTokens).toBe(0);
        const tokens = only(events, "delta").flatMap((delta) => delta.tokens!);
        expect(tokens.length).toBe(8);
        for (const { logprob, top } of tokens) expect([logprob, top.length]).toEqual([top[0]!.logprob, 2]);
      }
    }
  });

  it("echoes once for each choice, before its first delta, and uses the cache where nothing is scored", () => {
    const { model } = world();
    readAll(model.generate(request({ prompts: [{ kind: "text", text: prompt }] })));
    const events = readAll(model.generate(request({ prompts: [{ kind: "text", text: prompt }], echo: true, n: 2 })));
    expect(only(events, "prompt")).toEqual(
      [0, 1].map((index) => ({ type: "prompt", index, text: prompt, tokens: null })),
    );
    expect(events.findIndex(({ type }) => type === "delta")).toBeGreaterThan(
      events.findIndex(({ type }) => type === "prompt"),
    );
    expect(only(events, "done")[0]!.usage.cachedTokens).toBe(8);
  });

  it("scores a prompt and generates nothing with maxTokens 0", () => {
    for (const text of ["", "hello world"]) {
      const { model } = world({ contextLength: 12 });
      const events = readAll(
        model.generate(request({ prompts: [{ kind: "text", text }], echo: true, logprobs: 0, maxTokens: 0, n: 2 })),
      );
      expect(events.map(({ type }) => type)).toEqual(["start", "prompt", "finish", "prompt", "finish", "done"]);
      expect(only(events, "prompt")[1]!.tokens!.map(({ id }) => id)).toEqual(idsOf(text));
      expect(only(events, "done")[0]!.usage.completionTokens).toBe(0);
    }
  });
});

describe("seeds", () => {
  const sampled = (changes: Partial<GenerateRequest>, seed: number | null, here = world()) =>
    readAll(here.model.generate(request({ sampling: { ...GREEDY, temperature: 1, seed }, ...changes })));

  it("give the first of three choices what the only one gets, and different choices different texts", () => {
    const three = sampled({ n: 3 }, 42);
    expect(textOf(three, 0)).toBe(textOf(sampled({}, 42)));
    expect(new Set([0, 1, 2].map((index) => textOf(three, index))).size).toBe(3);
    expect(textOf(sampled({}, 43))).not.toBe(textOf(three, 0));
  });

  it("come from the injected randomness where the request brings none", () => {
    const here = world();
    const [first, second] = [sampled({}, null, here), sampled({}, null, here)];
    expect(textOf(first)).not.toBe(textOf(second));
    expect(textOf(sampled({}, null, world()))).toBe(textOf(first));
  });
});

describe("a conversation", () => {
  it("goes on from its transcript with the ids that were generated", () => {
    const here = world();
    const user = (content: string): ChatMessage => ({ role: "user", content });
    const messages = [user("hi there")];
    const first = here.model.generate(request({ prompts: [{ kind: "chat", messages }], maxTokens: 21 }));
    const answer = textOf(readAll(first));
    const transcript = first.transcript();
    expect(transcript.text.startsWith("<user>hi there<bot>")).toBe(true);
    expect(tokenizer.decode(transcript.tokens.slice(1), { keepControl: true })).toBe(transcript.text);
    const next: ChatMessage[] = [...messages, { role: "assistant", content: answer }, user("why")];
    const prompts = [{ kind: "chat" as const, messages: next }];
    const second = here.model.generate(request({ prompts }), { transcript });
    const events = readAll(second);
    const numKnown = transcript.tokens.length - (transcript.tokens.length % 4);
    expect(only(events, "start")[0]!.cachedTokens).toBe(numKnown);
    expect(second.transcript().tokens.slice(0, transcript.tokens.length)).toEqual(transcript.tokens);
    expect(here.model.tokenizeChat(messages)).toEqual([1, 2, ...tokenizer.encode("hi there", NO_SPECIAL), 3]);
  });

  const NO_SPECIAL = { addSpecialTokens: false, parseSpecial: false };
});

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

  it("that lose the backend let waiting readers wait for the next one", async () => {
    const here = world({}, { numRunningMax: 1 });
    const [first, second] = [here.model.generate(request()), here.model.generate(request())];
    here.backend.nextError = new BackendCrash("unreachable executed");
    expect(readAll(first).at(-1)!.type).toBe("error");
    expect([here.model.isAlive, here.crashes.length]).toEqual([false, 1]);
    const later = readAllLater(second);
    here.model.replaceBackend(new HashModelBackend({ vocabSize }));
    expect(textOf(await later)).toBe(tokenizer.decode(generateAlone(idsOf("hello"), { numTokens: 8, vocabSize })));
  });

  it("that cannot be mended end the waiting readers", async () => {
    const here = world({}, { numRunningMax: 1 });
    const [first, second] = [here.model.generate(request()), here.model.generate(request())];
    here.backend.nextError = new BackendCrash("unreachable executed");
    readAll(first);
    const later = readAllLater(second);
    here.model.shutdown(new Error("no memory"));
    expect((await later).map(({ type }) => type)).toEqual(["start", "error"]);
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

describe("an end token", () => {
  it("ends the text without showing, and counts as a generated token", () => {
    const { model } = world();
    for (const text of ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]) {
      const ids = generateAlone(idsOf(text), { numTokens: 60, vocabSize });
      const end = ids.indexOf(END_ID);
      const events = readAll(
        model.generate(request({ prompts: [{ kind: "text", text }], maxTokens: 60, ignoreEos: false })),
      );
      expect(textOf(events)).toBe(tokenizer.decode(end < 0 ? ids : ids.slice(0, end)));
      expect(only(events, "finish")[0]).toMatchObject({ reason: end < 0 ? "length" : "stop", stop: null });
      expect(only(events, "done")[0]!.usage.completionTokens).toBe(end < 0 ? 60 : end + 1);
    }
  });
});
