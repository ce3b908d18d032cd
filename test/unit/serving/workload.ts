/** Random requests on random machines, and what each of them must have generated when all have come to rest. */
import fc from "fast-check";
import { expect } from "vitest";
import type { SamplingParams } from "../../../src/protocol/generate.ts";
import type { BackendLimits } from "../../../src/serving/backend.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import type { KvSource } from "../../../src/serving/kv-archive.ts";
import { choiceKey } from "../../../src/serving/rng-key.ts";
import { type Job, job, Rig, type RigOptions, tokensFrom } from "./harness.ts";
import { GREEDY, generateAlone, scoreAlone } from "./hash-model.ts";

export const VOCAB_SIZE = 32;

export const machine = fc.record({
  blockTokens: fc.integer({ min: 1, max: 5 }),
  numSpareBlocks: fc.integer({ min: 0, max: 12 }),
  tokenBudget: fc.integer({ min: 1, max: 24 }),
  prefillChunkTokens: fc.integer({ min: 1, max: 24 }),
  numRunningMax: fc.integer({ min: 1, max: 8 }),
  prefixCache: fc.boolean(),
});

export const request = fc.record({
  /** How much of one of two common prefixes it begins with. */
  prefix: fc.integer({ min: 0, max: 1 }),
  numShared: fc.integer({ min: 0, max: 16 }),
  own: fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 8 }),
  maxTokens: fc.integer({ min: 0, max: 12 }),
  n: fc.constantFrom(1, 1, 1, 2, 4),
  temperature: fc.constantFrom(0, 0, 1),
  presencePenalty: fc.constantFrom(0, 0, 1),
  stopToken: fc.option(fc.nat(VOCAB_SIZE - 1)),
  scorePrompt: fc.constantFrom(false, false, true),
  cacheSalt: fc.constantFrom("", "", "b"),
  /** Steps made before it arrives. */
  delay: fc.integer({ min: 0, max: 4 }),
  /** Steps after its arrival at which it is aborted. */
  abortAfter: fc.option(fc.integer({ min: 0, max: 20 }), { freq: 8 }),
});

export type Machine = typeof machine extends fc.Arbitrary<infer T> ? T : never;
export type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

export interface Client {
  request: Request;
  choices: Job[];
  abortAt: number;
}

const samplingOf = (one: Request): SamplingParams => ({
  ...GREEDY,
  temperature: one.temperature,
  presencePenalty: one.presencePenalty,
});

/** Some of those with a salt have an adapter, too: they have tokens and salt in common with others and must share nothing. */
const adapterOf = ({ cacheSalt, own }: Request) => (cacheSalt === "" ? 0 : own.length % 3);

const rngKeyOf = (one: Request, choice: number) => choiceKey([one.own[0]!, one.own.length], choice);

/** What choice `i` generates alone, were there no stop token. */
export function truthOf({ request: one, choices }: Client, i: number): number[] {
  return generateAlone(choices[i]!.sequence.promptTokens, {
    numTokens: one.maxTokens,
    vocabSize: VOCAB_SIZE,
    sampling: samplingOf(one),
    rngKey: rngKeyOf(one, i),
    adapter: adapterOf(one),
  });
}

export const clientOf = (one: Request): Client => keptClientOf(one);

/** @param archive what was kept of its prompt */
export function keptClientOf(one: Request, archive?: KvSource): Client {
  const prompt = [...tokensFrom(one.prefix + 1, one.numShared), ...one.own];
  const choices: Job[] = [];
  for (let i = one.n - 1; i >= 0; i--) {
    const choice = job(prompt, one.maxTokens, {
      sampling: samplingOf(one),
      rngKey: rngKeyOf(one, i),
      scorePrompt: one.scorePrompt,
      numLogprobs: one.scorePrompt ? 2 : null,
      cacheSalt: one.cacheSalt,
      adapter: adapterOf(one),
      ...(archive !== undefined && i === 0 && { archive }),
      siblings: i === 0 ? choices.map(({ sequence }) => sequence).reverse() : [],
    });
    choice.probe.stopToken = one.stopToken;
    choices.push(choice);
  }
  return { request: one, choices: choices.reverse(), abortAt: Number.POSITIVE_INFINITY };
}

export function rigFor(
  settings: Machine & Partial<EngineLimits>,
  requests: readonly Request[],
  options: RigOptions = {},
  backendLimits: Partial<BackendLimits> = {},
): Rig {
  const longest = Math.max(...requests.map((one) => one.numShared + one.own.length + one.maxTokens));
  const { blockTokens, numSpareBlocks, ...limits } = settings;
  // The smallest pool that holds the longest sequence, and some spare: most runs must preempt.
  return new Rig(
    { blockTokens, numBlocks: Math.ceil(longest / blockTokens) + numSpareBlocks, numAdapters: 2, ...backendLimits },
    limits,
    options,
  );
}

/** Feeds the requests in at their times and steps until all is done. */
export function play(rig: Rig, clients: Client[]): void {
  let step = 0;
  const advance = () => {
    for (const client of clients) {
      if (client.abortAt === step) for (const { sequence } of client.choices) rig.engine.abort(sequence);
    }
    step++;
    rig.engine.checkInvariants();
    return rig.step();
  };
  for (const client of clients) {
    for (let i = 0; i < client.request.delay; i++) advance();
    rig.engine.add([client.choices[0]!.sequence]);
    if (client.request.abortAfter !== null) client.abortAt = step + client.request.abortAfter;
  }
  for (let i = 0; advance(); i++) if (i > 20_000) throw new Error("The machine does not come to rest.");
}

export function expectAlone(client: Client): void {
  const { request: one, choices } = client;
  for (const [i, { sequence, probe }] of choices.entries()) {
    expect(probe.error).toBeNull();
    const tokens = truthOf(client, i);
    const stopAt = one.stopToken === null ? -1 : tokens.indexOf(one.stopToken);
    const wanted = stopAt < 0 ? tokens : tokens.slice(0, stopAt + 1);
    if (client.abortAt !== Number.POSITIVE_INFINITY && probe.end === null) {
      expect(wanted.slice(0, probe.tokens.length)).toEqual(probe.tokens);
      continue;
    }
    expect(probe.tokens).toEqual(wanted);
    expect(probe.end).toBe(stopAt < 0 ? "length" : "stop");
    expect(probe.numPrefilled).toBe(1);
    expect(probe.numAdmitted).toBe(i === 0 ? 1 : 0);
    const isScored = i === 0 && one.scorePrompt;
    expect(probe.scores).toEqual(isScored ? scoreAlone(sequence.promptTokens, VOCAB_SIZE, 2, adapterOf(one)) : []);
    if (one.scorePrompt) expect(sequence.numCachedTokens).toBe(0);
  }
}
