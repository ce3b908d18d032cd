/**
 * 240 sessions in one isolate whose pool has room for less than twenty. Who is not there spills to storage and comes back,
 * whatever is done to it next; and when all are gone, nothing is left. As many as workerd serves in reasonable time: 1,000
 * with less to each are in `lifetimes.test.ts`, and with more but without objects in `test/unit/serving/crowd.test.ts`.
 */
import { evictDurableObject } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { uniformSource } from "../../support/random.ts";
import { edit, idOf, info, readEvents, regenerate, resume, send, untilIdle } from "../sessions.ts";
import { type Answer, addTinyModel, answerOf, createSession, post, request, statsOf } from "../stack.ts";
import { expectAtRest, expectDeleted, inParallel, objectOf, storedOf } from "./counters.ts";

// Some 20 s of CPU time, most of it workerd's making of objects; a busy machine must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const MODEL = "crowd-tiny";
const NUM_SESSIONS = 240;
const NUM_AT_ONCE = 24;
const BLOCK_TOKENS = 16;
/** Long enough for seven blocks of a session, so that few tokens have to be drawn. */
const QUESTIONS = ["fish", "boat", "river", "stone"].map((word) => `What does the ${word} do all day? `.repeat(4));

/** What a life can bring, next to another message. Each leaves the session idle, or says that it is gone. */
const EVENTS = [
  "send",
  "send",
  "send",
  "regenerate",
  "edit",
  "fork",
  "stop",
  "leave",
  "cut",
  "evict",
  "queue",
  "delete",
];

const inBlocks = (numTokens: number) => numTokens - (numTokens % BLOCK_TOKENS);

/** Every full block of the first turn was found, in the pool or in storage. */
function expectFirstTurnCached({ usage }: Answer, first: Answer["usage"]): void {
  const numComputed = first.prompt_tokens + first.completion_tokens - 1;
  expect(usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(inBlocks(numComputed));
}

/** @returns sessions that are there afterwards */
async function live(id: string, event: string, first: Answer["usage"]): Promise<string[]> {
  if (event === "send") expectFirstTurnCached(await answerOf(await send(id, QUESTIONS[0]!, 2)), first);
  if (event === "evict") {
    // One that was idle for long is gone already.
    await evictDurableObject(objectOf(id)).catch(() => {});
    expectFirstTurnCached(await answerOf(await send(id, QUESTIONS[0]!, 2)), first);
  }
  if (event === "regenerate") {
    const { usage } = await answerOf(await regenerate(id, 2));
    expect(usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(inBlocks(first.prompt_tokens - 1));
    expect(usage.prompt_tokens_details.cached_tokens).toBeLessThan(first.prompt_tokens);
  }
  if (event === "edit") {
    const [question] = (await info(id)).messages;
    expect((await answerOf(await edit(id, question!.id, "Short.", 3))).usage.completion_tokens).toBe(3);
  }
  if (event === "fork") {
    const forked = (await (await post(`/v1/sessions/${id}/fork`, {})).json()) as { id: string };
    expectFirstTurnCached(await answerOf(await send(forked.id, "Well?", 2)), first);
    return [id, forked.id];
  }
  if (event === "stop") {
    const response = await send(id, "stop me", 60);
    await post(`/v1/sessions/${id}/stop`, {});
    await response.text();
  }
  if (event === "leave") await (await send(id, "go on without me", 20)).body!.cancel();
  if (event === "cut") {
    const read = await readEvents(await send(id, "cut me", 12), 3);
    expect(await (await resume(id, idOf(read.at(-1)!))).text()).toMatch(/\[DONE\]\n\n$/);
  }
  if (event === "queue") {
    const answers = await Promise.all(["one", "two"].map((content) => send(id, content, 2, { if_busy: "queue" })));
    for (const answer of answers) expect((await answerOf(answer)).usage.completion_tokens).toBe(2);
  }
  if (event === "delete") {
    const running = await send(id, "delete me", 60);
    expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
    await running.text();
    expect((await storedOf(id)).numTables).toBe(0);
    return [];
  }
  const { messages } = await untilIdle(id);
  expect(messages.filter(({ finish_reason }) => finish_reason === "pending")).toEqual([]);
  return [id];
}

test("random lifetimes at once lose no block that they had, and leave none behind", async () => {
  // A line for each request: passing them on takes longer than answering.
  vi.spyOn(console, "log").mockImplementation(() => {});
  await addTinyModel(MODEL, { contextLength: 256 });
  const random = uniformSource(3);
  const sessions: { id: string; first: Answer["usage"]; event: string; at: number }[] = [];
  const texts = new Map<number, Set<string>>();
  await inParallel([...Array(NUM_SESSIONS).keys()], NUM_AT_ONCE, async (i) => {
    const { id } = await createSession(MODEL);
    const question = i % QUESTIONS.length;
    const { text, usage } = await answerOf(await send(id, QUESTIONS[question]!, 6));
    texts.set(question, (texts.get(question) ?? new Set()).add(text));
    sessions.push({ id, first: usage, event: EVENTS[Math.floor(random() * EVENTS.length)]!, at: random() });
  });
  // Each had to compute all of it, with its own salt, and said what the others said.
  expect(sessions.every(({ first }) => first.prompt_tokens_details.cached_tokens === 0)).toBe(true);
  expect([...texts.values()].map(({ size }) => size)).toEqual(QUESTIONS.map(() => 1));
  const { prompt_tokens, completion_tokens } = sessions[0]!.first;
  const { numBlocks, numRestoredTokens } = statsOf(MODEL);
  expect(numBlocks / Math.ceil((prompt_tokens + completion_tokens) / BLOCK_TOKENS)).toBeLessThan(20);

  const left: string[] = [];
  const shuffled = sessions.sort((a, b) => a.at - b.at);
  await inParallel(shuffled, NUM_AT_ONCE, async ({ id, first, event }) => {
    left.push(...(await live(id, event, first)));
  });
  await expectAtRest(MODEL);
  // Most of them came back from storage with all that they had.
  expect(statsOf(MODEL).numRestoredTokens - numRestoredTokens).toBeGreaterThan(
    0.6 * NUM_SESSIONS * inBlocks(prompt_tokens),
  );
  for (const id of left.slice(0, 20)) expect((await storedOf(id)).numTurns).toBe(1);
  await expectDeleted(left);
});
