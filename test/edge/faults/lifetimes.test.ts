/**
 * A thousand sessions come and go in one isolate whose pool has room for some twenty, two dozen at a time. Each has a life of
 * its own, drawn from its number; and when the last one is deleted nothing is left: no block, no byte of events, no row.
 * Short lives, because workerd needs some 40 ms of CPU time for one: `crowd.test.ts` looks at what fewer of them are told.
 */
import { evictDurableObject } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { uniformSource } from "../../support/random.ts";
import { regenerate, send } from "../sessions.ts";
import { addTinyModel, answerOf, createSession, post, request, statsOf } from "../stack.ts";
import { expectAtRest, expectNothingStored, inParallel, objectOf } from "./counters.ts";

// Under a minute of two idle cores; a busy machine must not fail for being slow.
vi.setConfig({ testTimeout: 600_000 });

const MODEL = "lifetimes-tiny";
/** Forks come on top. */
const NUM_CREATED = 970;
const NUM_AT_ONCE = 24;
const BLOCK_TOKENS = 16;
const NUM_ANSWER = 2;
const OWNER = "o".repeat(32);
const QUESTION = "What does the river do?";

/** What a session's life brings; each of them may be cut by its end. */
const EVENTS = ["turn", "turn", "stop", "leave", "fork", "evict", "regenerate", "delete"] as const;
type LifeEvent = (typeof EVENTS)[number];

class Lives {
  readonly ids: string[] = [];
  readonly numOf: Record<LifeEvent, number> = {
    turn: 0,
    stop: 0,
    leave: 0,
    fork: 0,
    evict: 0,
    regenerate: 0,
    delete: 0,
  };
  /** The first turn of all of them is the same. */
  readonly firstTexts = new Set<string>();
  firstTokens = 0;

  /** One life, and those of its forks. */
  async live(number: number): Promise<void> {
    const random = uniformSource(number);
    const { id } = await createSession(MODEL, random() < 0.25 ? OWNER : null);
    this.ids.push(id);
    const pick = () => EVENTS[Math.floor(random() * EVENTS.length)]!;
    const first = random() < 0.7 ? "turn" : pick();
    // Without an answer there is nothing to regenerate, and nothing to fork.
    const { hasAnswer } = await this.#meet(id, first === "fork" || first === "regenerate" ? "turn" : first, true);
    if (first !== "delete" && random() < 0.5) {
      const next = pick();
      const { isGone } = await this.#meet(id, hasAnswer ? next : "turn", false);
      if (isGone) return;
    }
    if (first !== "delete") await this.#delete(id);
  }

  async #meet(id: string, event: LifeEvent, isFirst: boolean): Promise<{ hasAnswer: boolean; isGone: boolean }> {
    this.numOf[event]++;
    // What stops and leaves may still be running; it waits for its turn.
    const ask = (numTokens: number) => send(id, QUESTION, numTokens, { if_busy: "queue" });
    if (event === "evict") await evictDurableObject(objectOf(id)).catch(() => {});
    if (event === "turn" || event === "evict") {
      const { text, usage } = await answerOf(await ask(NUM_ANSWER));
      expect(usage.completion_tokens).toBe(NUM_ANSWER);
      if (isFirst) {
        this.firstTexts.add(text);
        this.firstTokens = usage.prompt_tokens + usage.completion_tokens;
      }
      return { hasAnswer: true, isGone: false };
    }
    if (event === "regenerate") await answerOf(await regenerate(id, NUM_ANSWER));
    if (event === "fork") await this.#fork(id);
    const running = event === "stop" || event === "leave" || event === "delete" ? await ask(40) : null;
    if (event === "leave") await running!.body!.cancel();
    if (event === "stop") await post(`/v1/sessions/${id}/stop`, {});
    if (event === "delete") await this.#delete(id);
    if (event === "stop" || event === "delete") await running!.text();
    return { hasAnswer: false, isGone: event === "delete" };
  }

  async #fork(id: string): Promise<void> {
    const response = await post(`/v1/sessions/${id}/fork`, {});
    expect(response.status).toBe(201);
    const forked = ((await response.json()) as { id: string }).id;
    this.ids.push(forked);
    await answerOf(await send(forked, QUESTION, NUM_ANSWER));
    await this.#delete(forked);
  }

  async #delete(id: string): Promise<void> {
    expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
  }
}

test("1,000 random lifetimes leave no block, no byte of events and no row behind", async () => {
  // A line for each request: passing them on takes longer than answering.
  vi.spyOn(console, "log").mockImplementation(() => {});
  await addTinyModel(MODEL, { contextLength: 128 });
  const lives = new Lives();
  await inParallel([...Array(NUM_CREATED).keys()], NUM_AT_ONCE, (number) => lives.live(number));
  await expectAtRest(MODEL);
  await expectNothingStored(lives.ids);
  const list = await request("/v1/sessions", { headers: { "x-runnel-owner": OWNER } });
  expect(((await list.json()) as { data: unknown[] }).data).toEqual([]);

  // The lives were what they are to be.
  expect(new Set(lives.ids).size).toBeGreaterThanOrEqual(1000);
  expect(Math.min(...Object.values(lives.numOf))).toBeGreaterThan(30);
  expect(lives.firstTexts.size).toBe(1);
  const { numBlocks, numRestoredTokens } = statsOf(MODEL);
  expect(numBlocks / Math.ceil(lives.firstTokens / BLOCK_TOKENS)).toBeLessThan(25);
  expect(numRestoredTokens).toBeGreaterThan(1000);
});
