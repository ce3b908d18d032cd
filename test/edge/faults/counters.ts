/** What must be left of anything that went wrong: nothing. Counters that say so, and the ways to bring it about. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect } from "vitest";
import { isolateEngine } from "../../../src/edge/isolate-engine.ts";
import { answerOf, chat, post, request, statsOf } from "../stack.ts";

export const objectOf = (id: string) => env.CHAT_SESSION.getByName(id);

/** Object, engine and pool are gone, as after a deploy; what is stored stays. */
export async function restart(model: string, ...ids: string[]): Promise<void> {
  for (const id of ids) await evictDurableObject(objectOf(id));
  isolateEngine.crashForTest(model);
  await (await post("/v1/chat/completions", chat(model, "boom", 2))).text();
  await answerOf(await post("/v1/chat/completions", chat(model, "up again?", 2)));
}

/** Waits until nobody generates, and sees that no block, sequence, hold, registration or event is left. */
export async function expectAtRest(model: string): Promise<void> {
  for (let i = 0; i < 1000 && isolateEngine.numGenerations > 0; i++) await scheduler.wait(10);
  const { numRunning, numWaiting, numUnsaved, numFreeBlocks, numBlocks } = statsOf(model);
  const { numGenerations, heldEventBytes } = isolateEngine;
  expect({ numRunning, numWaiting, numUnsaved, numFreeBlocks, numGenerations, heldEventBytes }).toEqual({
    numRunning: 0,
    numWaiting: 0,
    numUnsaved: 0,
    numFreeBlocks: numBlocks,
    numGenerations: 0,
    heldEventBytes: 0,
  });
}

export interface Stored {
  /** Tables of ours, not the platform's. */
  numTables: number;
  /** Rows of the last turn, its events, and its KV. */
  numTurns: number;
  numEventRows: number;
  numBlocks: number;
  alarmAtMs: number | null;
}

/** Of a session's object, without waking its session up. */
export function storedOf(id: string): Promise<Stored> {
  return runInDurableObject(objectOf(id), async (_, { storage }) => {
    const names = storage.sql
      .exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '%cf_%' AND name NOT LIKE 'sqlite_%'")
      .toArray()
      .map(({ name }) => name as string);
    const rowsOf = (table: string) =>
      names.includes(table) ? (storage.sql.exec(`SELECT count(*) AS n FROM ${table}`).one().n as number) : 0;
    return {
      numTables: names.length,
      numTurns: rowsOf("turn"),
      numEventRows: rowsOf("turn_events"),
      numBlocks: rowsOf("kv_block"),
      alarmAtMs: await storage.getAlarm(),
    };
  });
}

/** Deletes the sessions and sees that their objects keep nothing, and write nothing later. */
export async function expectDeleted(ids: readonly string[]): Promise<void> {
  for (const id of ids) expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
  await expectNothingStored(ids);
}

/** Of sessions that were deleted. */
export async function expectNothingStored(ids: readonly string[]): Promise<void> {
  await scheduler.wait(200);
  const nothing = { numTables: 0, numTurns: 0, numEventRows: 0, numBlocks: 0, alarmAtMs: null };
  for (const id of ids) expect(await storedOf(id)).toEqual(nothing);
}

/** Runs tasks in order, at most so many at a time. */
export async function inParallel<T>(items: readonly T[], num: number, run: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) await run(item);
  };
  await Promise.all(Array.from({ length: num }, worker));
}
