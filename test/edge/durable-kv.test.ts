/** KV blocks that outlive their engine: restarts in mid-conversation, damaged rows, expiry, deletion, bounds, leaks. */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { KvStore, SESSION_KV_BYTES_MAX } from "../../src/edge/kv-store.ts";
import { SessionKv } from "../../src/edge/session-kv.ts";
import type { KvSink } from "../../src/serving/kv-archive.ts";
import { uniformSource } from "../support/random.ts";
import { expectAtRest, objectOf, restart as restartEngine } from "./faults/counters.ts";
import {
  type Answer,
  addTinyModel,
  answerOf,
  chunksOf,
  createSession,
  post,
  request,
  STREAM,
  statsOf,
} from "./stack.ts";

const MODEL = "durable-tiny";
const BLOCK_TOKENS = 16;

const words = (turn: number, numWords: number) =>
  Array.from({ length: numWords }, (_, i) => ["fish", "boat", "river", "stone", "light"][(i * turn + i) % 5]).join(" ");
/** A conversation of three long turns, and the short one after them. */
const CONTENTS = [words(1, 65), words(2, 60), words(3, 55)];
const NEXT = "and?";

const send = (id: string, content: string, numTokens = 16) =>
  post(`/v1/sessions/${id}/messages`, { content, max_tokens: numTokens, ...STREAM });
const exec = (id: string, sql: string) =>
  runInDurableObject(objectOf(id), (_, { storage }) => storage.sql.exec(sql).toArray());

/** Tables of ours. */
const tablesOf = async (id: string) =>
  (await exec(id, "SELECT name FROM sqlite_master WHERE name NOT LIKE '%cf_%' AND name NOT LIKE 'sqlite_%'")).length;

async function keptBlocks(id: string): Promise<number> {
  const [table] = await exec(id, "SELECT 1 FROM sqlite_master WHERE name = 'kv_block'");
  return table === undefined ? 0 : ((await exec(id, "SELECT count(*) AS n FROM kv_block"))[0]!.n as number);
}

/** Blocks are written a little after the last event. */
async function untilKept(id: string, { usage }: Answer): Promise<number> {
  const [transcript] = await exec(id, "SELECT length(tokens) / 4 AS n FROM transcript");
  // The last token of an answer is never computed.
  const numComputed = Math.min(transcript!.n as number, usage.prompt_tokens + usage.completion_tokens - 1);
  const numBlocks = Math.floor(numComputed / BLOCK_TOKENS);
  for (let i = 0; i < 200 && (await keptBlocks(id)) < numBlocks; i++) await scheduler.wait(10);
  expect(await keptBlocks(id)).toBe(numBlocks);
  return numBlocks;
}

const restart = (...ids: string[]) => restartEngine(MODEL, ...ids);

async function conversation(): Promise<{ id: string; last: Answer }> {
  const { id } = await createSession(MODEL);
  let last: Answer | null = null;
  for (const content of CONTENTS) last = await answerOf(await send(id, content));
  return { id, last: last! };
}

const cachedShare = ({ usage }: Answer) => usage.prompt_tokens_details.cached_tokens / usage.prompt_tokens;

/** What the next turn says where nothing was ever lost. */
let undisturbed: Answer;

beforeAll(async () => {
  await addTinyModel(MODEL);
  const { id } = await conversation();
  undisturbed = await answerOf(await send(id, NEXT));
  expect(undisturbed.usage.prompt_tokens).toBeGreaterThan(500);
});

describe("after a restart", () => {
  test("the next turn finds 95 % of its prompt and answers as if nothing had been", async () => {
    const { id, last } = await conversation();
    await untilKept(id, last);
    await restart(id);
    expect(statsOf(MODEL).numCachedBlocks).toBeLessThan(5);
    const before = statsOf(MODEL).numRestoredTokens;
    const next = await answerOf(await send(id, NEXT));
    expect([next.text, next.usage.prompt_tokens]).toEqual([undisturbed.text, undisturbed.usage.prompt_tokens]);
    // What is kept is whole blocks; the pool had the last one's first tokens, too.
    const cached = undisturbed.usage.prompt_tokens_details.cached_tokens;
    expect(next.usage.prompt_tokens_details.cached_tokens).toBe(cached - (cached % BLOCK_TOKENS));
    expect(cachedShare(next)).toBeGreaterThanOrEqual(0.95);
    expect(statsOf(MODEL).numRestoredTokens - before).toBe(next.usage.prompt_tokens_details.cached_tokens);
  });

  test("again and again", async () => {
    const { id, last } = await conversation();
    let answer = last;
    for (let i = 0; i < 4; i++) {
      await untilKept(id, answer);
      await restart(id);
      answer = await answerOf(await send(id, NEXT, 8));
      expect(cachedShare(answer)).toBeGreaterThanOrEqual(0.95);
    }
  });

  test("in the middle of an answer the prompt and what was checkpointed are found", async () => {
    const { id } = await createSession(MODEL);
    const chunks = chunksOf(await send(id, CONTENTS[0]!, 350));
    for (let i = 0; i < 200; i++) await chunks.next();
    const numBlocks = await keptBlocks(id);
    await abortAllDurableObjects();
    // It would go on until it is whole.
    await post(`/v1/sessions/${id}/stop`, {});
    await chunks.next().catch(() => {});
    await restart();
    const next = await answerOf(await send(id, NEXT, 4));
    const prompt = undisturbed.usage.prompt_tokens / CONTENTS.length;
    expect(numBlocks * BLOCK_TOKENS).toBeGreaterThan(prompt / 2);
    // The answer's text is tokenized anew, so of its blocks only those are found whose ids come out the same.
    expect(next.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(prompt / 2);
  });
});

describe("rows that cannot be trusted are dropped, computed again and replaced", () => {
  const fifth = (change: string) => (sql: SqlStorage) => {
    sql.exec(`UPDATE kv_block SET ${change} WHERE block_index = 5`);
  };
  const flipBit = (sql: SqlStorage) => {
    const bytes = sql.exec("SELECT bytes FROM kv_block WHERE block_index = 5").one().bytes as ArrayBuffer;
    new Uint8Array(bytes)[77]! ^= 4;
    sql.exec("UPDATE kv_block SET bytes = ? WHERE block_index = 5", bytes);
  };
  const damages: [string, number, (sql: SqlStorage) => void][] = [
    ["a flipped bit", 5, flipBit],
    ["a truncated block", 5, fifth("bytes = substr(bytes, 1, length(bytes) - 4)")],
    ["a block cut within a word", 5, fifth("bytes = substr(bytes, 1, 101)")],
    ["an empty block", 5, fifth("bytes = x''")],
    ["another block's bytes", 5, fifth("bytes = (SELECT bytes FROM kv_block WHERE block_index = 6)")],
    ["other tokens", 5, fifth("tokens = zeroblob(64)")],
    ["another hash", 5, fifth("hash = '0000000000000000'")],
    ["another checksum", 5, fifth(`checksum = '${"0".repeat(32)}'`)],
    ["a missing row", 5, (sql) => void sql.exec("DELETE FROM kv_block WHERE block_index = 5")],
    ["rows of another engine", 0, (sql) => void sql.exec("UPDATE kv_snapshot SET fingerprint = 'other'")],
    ["no blocks' table: reading and writing fail", 0, (sql) => void sql.exec("DROP TABLE kv_block")],
    ["no header", 0, (sql) => void sql.exec("DELETE FROM kv_snapshot")],
    ["every row", 0, (sql) => void sql.exec("UPDATE kv_block SET checksum = substr(checksum, 2) || 'x'")],
  ];
  test.each(damages)("%s", async (_, numRestored, damage) => {
    const { id, last } = await conversation();
    const numBlocks = await untilKept(id, last);
    await runInDurableObject(objectOf(id), (_, { storage }) => damage(storage.sql));
    await restart(id);
    const next = await answerOf(await send(id, NEXT));
    expect(next.text).toBe(undisturbed.text);
    expect(next.usage.prompt_tokens_details.cached_tokens).toBe(numRestored * BLOCK_TOKENS);
    expect(await untilKept(id, next)).toBeGreaterThan(numBlocks);
    await restart(id);
    expect(cachedShare(await answerOf(await send(id, NEXT)))).toBeGreaterThanOrEqual(0.95);
  });
});

describe("what is kept", () => {
  test("is gone after DELETE, also where the answer has just ended and its blocks are on their way", async () => {
    const { id, last } = await conversation();
    const other = await createSession(MODEL);
    await untilKept(id, last);
    await answerOf(await send(other.id, CONTENTS[0]!));
    for (const each of [id, other.id]) {
      expect((await request(`/v1/sessions/${each}`, { method: "DELETE" })).status).toBe(200);
    }
    await scheduler.wait(100);
    for (const each of [id, other.id]) {
      expect(await tablesOf(each)).toBe(0);
      expect(await runInDurableObject(objectOf(each), (_, { storage }) => storage.getAlarm())).toBeNull();
    }
  });

  test("expires by alarm when nobody comes back; the history stays and the next turn works", async () => {
    const { id, last } = await conversation();
    const numBlocks = await untilKept(id, last);
    const alarmAtMs = () => runInDurableObject(objectOf(id), (_, { storage }) => storage.getAlarm());
    for (let i = 0; i < 50 && (await alarmAtMs()) === null; i++) await scheduler.wait(10);
    const inDays = ((await alarmAtMs())! - Date.now()) / 86_400_000;
    expect(inDays).toBeGreaterThan(6.9);
    expect(inDays).toBeLessThanOrEqual(7);
    // Somebody was here meanwhile: look again later.
    expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
    expect(await keptBlocks(id)).toBe(numBlocks);
    expect(await alarmAtMs()).toBeGreaterThan(Date.now());
    await exec(id, "UPDATE kv_snapshot SET expires_at_ms = 1");
    expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
    expect([await keptBlocks(id), await alarmAtMs()]).toEqual([0, null]);
    await restart(id);
    const next = await answerOf(await send(id, NEXT));
    expect([next.text, next.usage.prompt_tokens_details.cached_tokens]).toEqual([undisturbed.text, 0]);
    await untilKept(id, next);
  });

  test("is nothing where the operator says 0 days", async () => {
    const model = await isolateEngine.acquire(env, MODEL);
    await runInDurableObject(objectOf("kv-off"), async (_, ctx) => {
      const kv = new SessionKv(
        ctx,
        { ...env, SESSION_KV_DAYS: "0" },
        () => true,
        async () => {},
      );
      expect(kv.beginTurn(model)).toEqual({});
      kv.checkpoint(model, "", () => new Array(500).fill(1));
      kv.save(model, "", new Array(500).fill(1));
      await scheduler.wait(50);
    });
    expect(await tablesOf("kv-off")).toBe(0);
  });

  test("is at most the bound of a session, and the first blocks of it", () =>
    runInDurableObject(objectOf("kv-bound"), (_, { storage }) => {
      const blockBytes = 1_200_000;
      const store = new KvStore(storage);
      const bytes = new Uint8Array(blockBytes);
      const progress = (numKept: number) => ({ numKept, numWritten: 0, isWhole: true, resident: Int32Array.of() });
      const write = (archive: KvSink) => {
        let index = 0;
        const isTaken = () =>
          archive.has(index, `${index}`) || archive.write(index, `${index}`, Int32Array.of(index), bytes);
        while (isTaken()) index++;
        return progress(index);
      };
      let numTransactions = 1;
      while (store.save("any", 1, write)) numTransactions++;
      const rows = storage.sql.exec("SELECT block_index AS i, length(bytes) AS n FROM kv_block ORDER BY i").toArray();
      const numBlocksMax = Math.floor(SESSION_KV_BYTES_MAX / (blockBytes + 4));
      expect(rows).toEqual(Array.from({ length: numBlocksMax }, (_, i) => ({ i, n: blockBytes })));
      // At most 2 MB and a block each: others get their turn in between.
      expect(numTransactions).toBeGreaterThanOrEqual(numBlocksMax / 2);
      // A block that no row may hold is not kept at all.
      expect(
        store.save("larger", 1, (archive) =>
          progress(Number(archive.write(0, "0", Int32Array.of(0), new Uint8Array(2_000_000)))),
        ),
      ).toBe(false);
      expect(storage.sql.exec("SELECT count(*) AS n FROM kv_block").one().n).toBe(0);
    }));
});

test("kept blocks are read eight in a query, up to the first that is not what was asked for", () =>
  runInDurableObject(objectOf("kv-read"), (_, { storage }) => {
    const block = (index: number) => ({ index, hash: `${index}`, ids: Int32Array.of(index) });
    const blocks = Array.from({ length: 12 }, (_, index) => block(index));
    const store = new KvStore(storage);
    store.save("any", 1, (archive) => {
      for (const { index, hash, ids } of blocks) archive.write(index, hash, ids, new Uint8Array(8).fill(index));
      return { numKept: blocks.length, numWritten: blocks.length, isWhole: true, resident: Int32Array.of() };
    });
    const exec = vi.spyOn(storage.sql, "exec");
    const source = store.open("any");
    const read = (...indices: number[]) => Array.from(source.read(indices.map(block)), ([index]) => index);
    expect(read(0)).toEqual([0]);
    exec.mockClear();
    expect(read(1, 2, 3, 4, 5, 6, 7, 8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(exec).toHaveBeenCalledTimes(1);
    expect(read(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(exec).toHaveBeenCalledTimes(3);
    storage.sql.exec("DELETE FROM kv_block WHERE block_index = 2");
    expect([read(1, 2, 3), read(2, 3)]).toEqual([[1], []]);
    storage.sql.exec("UPDATE kv_block SET checksum = 'x' WHERE block_index = 4");
    expect([read(3, 4, 5), read(5)]).toEqual([[3], []]);
    expect([...store.open("other").read(blocks)]).toEqual([]);
  }));

test("kept blocks go to another object in messages far under the limit of one, as many as it can use, and no others", () =>
  runInDurableObject(objectOf("kv-rows"), (_, { storage }) => {
    const [numRows, blockBytes] = [9, 1_200_000];
    const store = new KvStore(storage);
    const write = (archive: KvSink) => {
      let index = 0;
      const ids = () => Int32Array.from({ length: BLOCK_TOKENS }, () => index);
      const isTaken = () =>
        archive.has(index, `${index}`) || archive.write(index, `${index}`, ids(), new Uint8Array(blockBytes));
      while (index < numRows && isTaken()) index++;
      return { numKept: index, numWritten: 0, isWhole: true, resident: Int32Array.of() };
    };
    while (store.save("any", 1, write));
    const messagesFor = (numTokens: number) => {
      const messages: number[][] = [];
      for (let from = 0; ; ) {
        const { blocks, fingerprint } = store.rows(from, numTokens)!;
        expect(fingerprint).toBe("any");
        if (blocks.length === 0) return messages;
        messages.push(blocks.map(({ index }) => index));
        from += blocks.length;
      }
    };
    expect(messagesFor(numRows * BLOCK_TOKENS)).toEqual([
      [0, 1, 2],
      [3, 4, 5],
      [6, 7, 8],
    ]);
    expect(messagesFor(5 * BLOCK_TOKENS - 1)).toEqual([[0, 1, 2], [3]]);
    storage.sql.exec("DELETE FROM kv_block WHERE block_index = 4");
    expect(messagesFor(numRows * BLOCK_TOKENS)).toEqual([[0, 1, 2], [3]]);
    expect(new KvStore(storage).rows(50, 1)!.blocks).toEqual([]);
  }));

test("200 random lifetimes leave no block, no sequence and no row behind", async () => {
  const NUM_BATCHES = 25;
  const random = uniformSource(5);
  const pick = (n: number) => Math.floor(random() * n);
  const oneTurn = async (id: string) => {
    const response = await send(id, words(1 + pick(4), 1 + pick(20)), 1 + pick(24));
    const end = pick(6);
    if (end === 0) return response.body!.cancel();
    if (end === 1) await post(`/v1/sessions/${id}/stop`, {});
    await response.text();
    // The object may be gone already, with the engine.
    if (end === 2) await evictDurableObject(objectOf(id)).catch(() => {});
  };
  const ids: string[] = [];
  const before = statsOf(MODEL).numRestoredTokens;
  for (let batch = 0; batch < NUM_BATCHES; batch++) {
    const batchIds: string[] = [];
    while (batchIds.length < 8) {
      batchIds.push((await createSession(MODEL, pick(2) === 0 ? null : "o".repeat(32))).id);
    }
    for (let round = 0; round < 2; round++) {
      await Promise.all(batchIds.map(oneTurn));
      if (pick(3) === 0) await restart();
    }
    ids.push(...batchIds);
  }
  expect(ids).toHaveLength(200);
  // The lifetimes reach what they are about.
  expect(statsOf(MODEL).numRestoredTokens - before).toBeGreaterThan(200);
  for (const id of ids) expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
  await scheduler.wait(200);
  for (const id of ids) expect(await tablesOf(id)).toBe(0);
  await expectAtRest(MODEL);
});
