/** What becomes of answers whose engine is lost: engines that answer, and scripted ones with a clock that the test moves. */
import { beforeEach, describe, expect, test } from "vitest";
import { ModelMeter } from "../../../src/origin/meters.ts";
import { createMetrics } from "../../../src/origin/metrics.ts";
import { RemoteModel } from "../../../src/origin/remote-model.ts";
import { overloaded } from "../../../src/protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import { ManualClock } from "../api/scripted-host.ts";
import { GREEDY } from "../serving/hash-model.ts";
import { readAll, request, textOf, world } from "../serving/world.ts";
import { CONFIG, type ScriptedEngine, scripted, stateOf } from "./engines.ts";
import { all, DRAWN_SEED, LIMITS, started } from "./live-model.ts";

const SAMPLED = { ...GREEDY, temperature: 1, seed: 12 };

/** What a client sees of them, choice by choice: what comes between the events of one is nobody's promise. */
function answerOf(events: readonly GenerateEvent[]) {
  const choices = new Map<number, GenerateEvent[]>();
  for (const event of events) {
    if ("index" in event) choices.set(event.index, [...(choices.get(event.index) ?? []), event]);
  }
  return {
    choices,
    start: events[0],
    usage: events.map((event) => (event.type === "done" ? event.usage : null)).at(-1),
  };
}

describe("the next engine goes on with an answer", () => {
  const kinds: [string, Partial<GenerateRequest>][] = [
    ["greedy", {}],
    ["sampled", { sampling: SAMPLED }],
    ["with a drawn seed", { sampling: { ...SAMPLED, seed: null } }],
    ["with logprobs", { logprobs: 2 }],
    ["until a stop string", { stopStrings: ["q"], maxTokens: 60 }],
    ["until a stop token", { stopTokenIds: [9], maxTokens: 60 }],
    ["of several choices", { n: 3, sampling: SAMPLED }],
    ["of several prompts", { prompts: ["hello", "world"].map((text) => ({ kind: "text", text })), n: 2 }],
    ["with its prompt", { echo: true, logprobs: 1 }],
    ["of a beam search", { beams: { width: 3, lengthPenalty: 1, stopsEarly: false }, n: 2, maxTokens: 5 }],
  ];

  test.each(kinds)("%s, as if nothing had happened", async (_, fields) => {
    const asked = request({ maxTokens: 12, ...fields });
    const seeded = { ...asked, sampling: { ...asked.sampling, seed: asked.sampling.seed ?? DRAWN_SEED } };
    const whole = answerOf(readAll(world({ maxBatchSequences: 4 }).model.generate(seeded)));
    for (const cuts of [[1], [2], [5], [2, 4], [6, 6], [11]]) {
      const { model, lives, stop } = await started();
      const stream = await model.generate(asked);
      const events: GenerateEvent[] = [];
      for (let event = await stream.next(); event !== null; event = await stream.next()) {
        events.push(event);
        if (cuts[lives.length - 1]! <= events.length) lives.at(-1)!.kill();
      }
      expect(answerOf(events)).toEqual(whole);
      expect(model.numOpen).toBe(0);
      stop();
    }
  });

  test("that it never told of it, too, and measures it as one", async () => {
    const { model, lives, value, stop } = await started();
    const answers = ["one", "two"].map((text) => model.generate(request({ prompts: [{ kind: "text", text }] })));
    lives[0]!.kill();
    const texts = await Promise.all(answers.map(async (answer) => textOf(await all(await answer))));
    const alone = ["one", "two"].map((text) =>
      textOf(readAll(world().model.generate(request({ prompts: [{ kind: "text", text }] })))),
    );
    expect(texts).toEqual(alone);
    expect(await value("runnel_engine_failures_total")).toBe(1);
    expect(await value("runnel_requests_resent_total")).toBe(2);
    expect(await value("vllm:generation_tokens_total")).toBe(16);
    expect(await value("vllm:request_success_total")).toBe(2);
    stop();
  });
});

test("a request that brings down every engine fails, and those beside it are answered", async () => {
  const { model, lives, stop } = await started(
    {},
    {
      born: (life) => {
        life.onGenerate = (requestId) => requestId === "poison" && life.kill();
      },
    },
  );
  const others = ["one", "two"].map((text) => ({ prompts: [{ kind: "text" as const, text }], maxTokens: 60 }));
  const answers = others.map((fields) => model.generate(request(fields)));
  const failing = model.generate(request({ requestId: "poison" })).catch((cause) => cause);
  expect(await failing).toMatchObject({ status: 500, code: "engine_failed" });
  const texts = await Promise.all(answers.map(async (answer) => textOf(await all(await answer))));
  expect(texts).toEqual(others.map((fields) => textOf(readAll(world().model.generate(request(fields))))));
  expect(lives).toHaveLength(4);
  stop();
});

describe("by a clock that the test moves", () => {
  let clock: ManualClock;
  let lives: ScriptedEngine[];
  let model: RemoteModel;

  beforeEach(() => {
    clock = new ManualClock();
    const engines = scripted();
    lives = engines.lives;
    model = new RemoteModel({
      config: CONFIG,
      spawn: engines.spawn,
      clock,
      limits: LIMITS,
      drawSeed: () => DRAWN_SEED,
      meter: new ModelMeter(createMetrics(), "tiny", () => clock.nowMs()),
      log: () => {},
    });
    void model.supervisor.start();
    lives[0]!.ready();
  });

  /** An answer that its engine has begun. */
  async function begun(fields: Partial<GenerateRequest> = {}) {
    const asked = model.generate(request(fields));
    const life = lives.at(-1)!;
    const { id } = life.sent.findLast(({ type }) => type === "generate") as { id: number };
    life.say({ type: "admitted", id, state: stateOf(world()) });
    const stream = await asked;
    give(life, id, { type: "start", model: "tiny", promptTokens: 3, cachedTokens: 1 }, delta(5), delta(6));
    for (let i = 0; i < 3; i++) await stream.next();
    return { id, stream };
  }

  const delta = (id: number): GenerateEvent => ({ type: "delta", index: 0, text: "x", tokenIds: [id], tokens: null });
  const give = (life: ScriptedEngine, id: number, ...events: GenerateEvent[]) =>
    life.say({ type: "answers", answers: [[id, events]], state: stateOf(world()) });

  function nextLife(): ScriptedEngine {
    lives.at(-1)!.exit("SIGKILL");
    clock.advance(LIMITS.pauseMs);
    lives[1]!.ready();
    return lives[1]!;
  }

  test("an answer is sent with its tokens and its seed", async () => {
    const { id } = await begun();
    expect(nextLife().sent.slice(1)).toEqual([
      { type: "generate", id, request: request({ sampling: { ...GREEDY, seed: DRAWN_SEED } }), generatedTokens: [5] },
    ]);
  });

  test("an engine that does not come back in time is an error that may be retried", async () => {
    const { stream } = await begun();
    lives[0]!.exit("SIGKILL");
    clock.advance(LIMITS.pauseMs);
    for (let ms = 0; ms < LIMITS.readyWithinMs; ms += 5_000) {
      lives[1]!.say({ type: "beat", state: null });
      clock.advance(5_000);
    }
    await expect(stream.next()).rejects.toMatchObject({
      status: 503,
      code: "model_unavailable",
      message: expect.stringMatching(/^The engine of 'tiny' failed in the middle of this answer and starts again\./),
    });
    expect(await stream.next()).toBeNull();
    lives[1]!.ready();
    expect(lives[1]!.sent).toHaveLength(1);
  });

  test("an engine that takes far longer to load is not waited for", async () => {
    lives[0]!.ready({ loadMs: 2 * LIMITS.readyWithinMs });
    const { stream } = await begun();
    lives[0]!.exit("SIGKILL");
    await expect(stream.next()).rejects.toMatchObject({ status: 503, retryAfterS: 51 });
  });

  test("an answer that nobody wants any more is not sent", async () => {
    const { stream } = await begun();
    lives[0]!.exit("SIGKILL");
    stream.cancel();
    clock.advance(LIMITS.pauseMs);
    lives[1]!.ready();
    expect(lives[1]!.sent).toHaveLength(1);
    expect([model.numOpen, await stream.next()]).toEqual([0, null]);
  });

  test("one that is left after it was sent is aborted there", async () => {
    const { id, stream } = await begun();
    const life = nextLife();
    stream.cancel();
    expect(life.sent.at(-1)).toEqual({ type: "abort", id });
  });

  test("an engine that refuses it, or says something else, ends it with an error", async () => {
    const [refused, other] = [await begun(), await begun({ logprobs: 0 })];
    const life = nextLife();
    const { status, type, code, param, message } = overloaded(8, 8);
    life.say({ type: "refused", id: refused.id, error: { status, type, code, param, message } });
    await expect(refused.stream.next()).rejects.toMatchObject({ status: 429 });
    give(life, other.id, { type: "start", model: "tiny", promptTokens: 3, cachedTokens: 2 }, delta(5), delta(7));
    await expect(other.stream.next()).rejects.toMatchObject({ status: 503, code: "model_unavailable" });
    expect(life.sent.at(-1)).toEqual({ type: "abort", id: other.id });
  });

  test("usage and times are those of the whole answer", async () => {
    const { id, stream } = await begun();
    const life = nextLife();
    const usage = { promptTokens: 3, completionTokens: 2, cachedTokens: 3 };
    const done: GenerateEvent = { type: "done", usage, timings: { queueMs: 0, ttftMs: 1, totalMs: 2 } };
    give(life, id, { type: "start", model: "tiny", promptTokens: 3, cachedTokens: 3 }, delta(5), delta(6));
    give(life, id, { type: "finish", index: 0, reason: "length", stop: null }, done);
    await stream.next();
    expect(await stream.next()).toEqual({
      type: "done",
      usage: { ...usage, cachedTokens: 1 },
      timings: { queueMs: 0, ttftMs: 0, totalMs: LIMITS.pauseMs },
    });
  });
});
