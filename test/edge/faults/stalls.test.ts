/** A stream whose reader takes nothing holds nobody up, and nobody waits for it for ever. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { isolateEngine } from "../../../src/edge/isolate-engine.ts";
import { SessionKv } from "../../../src/edge/session-kv.ts";
import { PLAIN_REQUEST } from "../../../src/protocol/plain-request.ts";
import { MOVED_TOKENS_PER_STEP } from "../../../src/serving/engine.ts";
import { GREEDY } from "../../support/sampling.ts";
import { addTinyModel, statsOf } from "../stack.ts";
import { objectOf } from "./counters.ts";

const MODEL = "stalls-tiny";
const BLOCK_TOKENS = 16;

test("saving beside a stream that makes no step ends with what it may move, and goes on with the next save", async () => {
  await addTinyModel(MODEL);
  const model = await isolateEngine.acquire(env, MODEL);
  const ask = (content: string, maxTokens: number) =>
    model.generate({
      ...PLAIN_REQUEST,
      requestId: "stall",
      model: MODEL,
      prompts: [{ kind: "chat", messages: [{ role: "user", content }] }],
      sampling: { ...GREEDY, seed: 1 },
      maxTokens,
      ignoreEos: true,
      cacheSalt: "salt",
    });
  const ended = ask("a b c d e f g h ".repeat(40), 4);
  while ((await ended.next()) !== null);
  const { tokens } = ended.transcript();
  const numFull = Math.floor((tokens.length - 1) / BLOCK_TOKENS);
  expect(numFull * BLOCK_TOKENS).toBeGreaterThan(2 * MOVED_TOKENS_PER_STEP);
  const left = ask("and nobody reads", 50);
  while (statsOf(MODEL).numRunning === 0) await left.step();
  await runInDurableObject(objectOf("stalls"), async (_, { storage }) => {
    const kept: Promise<unknown>[] = [];
    const watched = { storage, waitUntil: (promise: Promise<unknown>) => kept.push(promise) };
    const replan = async () => {};
    const kv = new SessionKv(watched as unknown as DurableObjectState, env, () => true, replan);
    const save = async () => {
      kv.save(model, "salt", tokens);
      await Promise.all(kept);
      return storage.sql.exec("SELECT count(*) AS n FROM kv_block").one().n;
    };
    expect(await save()).toBe(MOVED_TOKENS_PER_STEP / BLOCK_TOKENS);
    left.abort();
    expect(await save()).toBe(numFull);
    storage.sql.exec("DROP TABLE kv_block; DROP TABLE kv_snapshot");
  });
  const { numRunning, numUnsaved, numFreeBlocks, numBlocks } = statsOf(MODEL);
  expect([numRunning, numUnsaved, numFreeBlocks]).toEqual([0, 0, numBlocks]);
});
