/** A thousand sessions in one isolate whose pool has room for twenty: who is not there spills to storage and comes back. */
import { expect, test, vi } from "vitest";
import { uniformSource } from "../../support/random.ts";
import { send } from "../sessions.ts";
import { type Answer, addTinyModel, answerOf, createSession, statsOf } from "../stack.ts";
import { expectAtRest, expectDeleted, inParallel, storedOf } from "./counters.ts";

// Half a minute on an idle machine.
vi.setConfig({ testTimeout: 300_000 });

const MODEL = "crowd-tiny";
const NUM_SESSIONS = 1000;
const NUM_AT_ONCE = 24;
const BLOCK_TOKENS = 16;
const QUESTIONS = ["What do fish do all day?", "Where is the river?", "Who built the boat?", "Why is it so light?"];

test("1,000 sessions share a pool for 20, and each finds its own blocks again", async () => {
  await addTinyModel(MODEL, { contextLength: 256 });
  const ids: string[] = [];
  const firsts = new Map<string, Answer>();
  const texts = new Set<string>();
  const ask = async (id: string, question: number, numTokens: number) => {
    const answer = await answerOf(await send(id, QUESTIONS[question]!, numTokens));
    texts.add(`${firsts.has(id)} ${question} ${answer.text}`);
    return answer;
  };
  const numbers = Array.from({ length: NUM_SESSIONS }, (_, i) => i);
  await inParallel(numbers, NUM_AT_ONCE, async (i) => {
    const { id } = await createSession(MODEL);
    ids.push(id);
    firsts.set(id, await ask(id, i % QUESTIONS.length, 48));
  });
  const { numBlocks, numRestoredTokens } = statsOf(MODEL);
  const { prompt_tokens, completion_tokens } = firsts.get(ids[0]!)!.usage;
  const blocksOfOne = Math.ceil((prompt_tokens + completion_tokens) / BLOCK_TOKENS);
  expect(numBlocks / blocksOfOne).toBeLessThan(22);

  const random = uniformSource(3);
  const shuffled = ids.map((id) => ({ id, at: random() })).sort((a, b) => a.at - b.at);
  await inParallel(shuffled, NUM_AT_ONCE, async ({ id }) => {
    const { usage } = firsts.get(id)!;
    const { cached_tokens } = (await ask(id, 0, 4)).usage.prompt_tokens_details;
    const numComputed = usage.prompt_tokens + usage.completion_tokens - 1;
    expect(cached_tokens).toBeGreaterThanOrEqual(numComputed - (numComputed % BLOCK_TOKENS));
  });
  // Nearly all of it came from storage, and whoever asked the same got the same.
  const numKept = (NUM_SESSIONS - 40) * (blocksOfOne - 1) * BLOCK_TOKENS;
  expect(statsOf(MODEL).numRestoredTokens - numRestoredTokens).toBeGreaterThan(numKept);
  expect(texts.size).toBe(2 * QUESTIONS.length);
  await expectAtRest(MODEL);
  expect(await storedOf(ids[0]!)).toMatchObject({ numTurns: 1, numBlocks: expect.any(Number) });
  await expectDeleted(ids);
});
