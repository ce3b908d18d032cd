import { describe, expect, it } from "vitest";
import type { ChatMessage, GenerateRequest, TokenLogprob } from "../../../src/protocol/generate.ts";
import { choiceKey, seedLanes } from "../../../src/serving/rng-key.ts";
import { createLanguageModel } from "../../../src/serving/served-model.ts";
import { caught } from "../protocol/caught.ts";
import { END_ID } from "./byte-tokenizer.ts";
import { GREEDY, generateAlone, HashModelBackend, scoreAlone } from "./hash-model.ts";
import { idsOf, only, readAll, request, textOf, tokenizer, vocabSize, world } from "./world.ts";

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
    expect(caught(() => model.generate(request({ maxTokens: 15 })))).toMatchObject({ status: 400, param: "prompt" });
    // The pool is the limit where it is smaller than the model's context.
    expect(world({ contextLength: 999, numBlocks: 5, blockTokens: 4 }).model.contextLength).toBe(20);
  });

  it("goes on from the words of an answer, from whichever of them", () => {
    const messages: ChatMessage[] = [{ role: "user", content: "hello" }];
    // Whole characters only: half of one is no text that a request could bring.
    const logitBias = [0, 1, 2, 3, vocabSize - 2, vocabSize - 1].map((id): [number, number] => [id, -100]);
    const answered = (answerSoFar: string, maxTokens: number) => {
      const prompts: GenerateRequest["prompts"] = [{ kind: "chat", messages, answerSoFar }];
      return readAll(world().model.generate(request({ prompts, maxTokens, sampling: { ...GREEDY, logitBias } })));
    };
    const whole = textOf(answered("", 12));
    expect(whole).toHaveLength(12);
    const numPlain = only(answered("", 12), "done")[0]!.usage.promptTokens;
    for (let numKnown = 0; numKnown < 12; numKnown++) {
      const events = answered(whole.slice(0, numKnown), 12 - numKnown);
      expect(whole.slice(0, numKnown) + textOf(events)).toBe(whole);
      expect(only(events, "done")[0]!.usage.promptTokens).toBe(numPlain + numKnown);
    }
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

describe("adapters", () => {
  it("are asked for by their names, and answers carry them", () => {
    const { model } = world({ numAdapters: 2 });
    const said = (name: string) => readAll(model.generate(request({ model: name })));
    for (const [adapter, name] of ["tiny", "adapter-1", "adapter-2"].entries()) {
      const events = said(name);
      expect(only(events, "start")[0]).toMatchObject({ model: name, cachedTokens: 0 });
      const ids = generateAlone(idsOf("hello"), { numTokens: 8, vocabSize, adapter });
      expect(textOf(events)).toBe(tokenizer.decode(ids));
    }
    // What else a host calls the model is the model.
    expect(only(said("alias"), "start")[0]).toMatchObject({ model: "tiny" });
  });

  it("must have as many names as the backend has adapters", () => {
    const backend = new HashModelBackend({ vocabSize, numAdapters: 1 });
    const embedding = { width: 4, pooling: "last" as const };
    const options = { id: "tiny", backend, tokenizer, embedding, encodeChat: null, clock: () => 0, random: () => 0 };
    expect(() => createLanguageModel({ ...options, limits: { numWaitingMax: 1 }, onCrash: () => {} })).toThrow(
      "The backend has 1 adapters, and 0 are named.",
    );
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
