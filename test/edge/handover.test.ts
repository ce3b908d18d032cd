/** Answers that span many invocations: nobody notices, whatever happens between two of them. */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { ChatSession } from "../../src/edge/chat-session.ts";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { Turn } from "../../src/edge/turn.ts";
import { allOf, eventsOf, idOf, info, readEvents, resume, send, untilIdle, withoutNames } from "./sessions.ts";
import { addTinyModel, createSession, post, request, statsOf } from "./stack.ts";

const MODEL = "handover-tiny";
const NUM_TOKENS = 160;
const SAMPLED = { temperature: 1, seed: 3 };

const objectOf = (id: string) => env.CHAT_SESSION.getByName(id) as DurableObjectStub<ChatSession>;
const exec = (id: string, sql: string) =>
  runInDurableObject(objectOf(id), (_, { storage }) => storage.sql.exec(sql).toArray());

beforeAll(async () => {
  await addTinyModel(MODEL);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Every invocation of a session's object gets no further than a step or some. */
function withTinyBudget(ms = 1) {
  (env as { TURN_CPU_MS?: string }).TURN_CPU_MS = `${ms}`;
  return vi.spyOn(Turn.prototype, "run");
}

describe("an answer", () => {
  test("of many invocations is that of one: text, ids, KV", async () => {
    const results: unknown[] = [];
    for (const isCut of [false, true]) {
      const runs = isCut ? withTinyBudget() : vi.spyOn(Turn.prototype, "run");
      const { id } = await createSession(MODEL);
      const text = withoutNames(await (await send(id, "a long story", NUM_TOKENS, SAMPLED)).text());
      const { messages } = await untilIdle(id);
      await scheduler.wait(200);
      const rows = await exec(id, "SELECT block_index, hash, checksum FROM kv_block ORDER BY block_index");
      const [transcript] = await exec(id, "SELECT hex(tokens) AS ids FROM transcript");
      results.push({ text, content: messages[1]!.content, finish: messages[1]!.finish_reason, rows, transcript });
      if (isCut) expect(runs.mock.calls.length).toBeGreaterThanOrEqual(3);
      else expect(runs.mock.calls.length).toBe(1);
      vi.restoreAllMocks();
    }
    expect(results[1]).toEqual(results[0]);
  });
});
