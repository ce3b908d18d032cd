/** Clients that come and go by the hundred, a deploy in the middle of it all, and clocks that jump. */
import { abortAllDurableObjects, runInDurableObject } from "cloudflare:test";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { KvStore } from "../../../src/edge/kv-store.ts";
import { uniformSource } from "../../support/random.ts";
import { eventsOf, info, readEvents, resume, send, untilIdle } from "../sessions.ts";
import { addTinyModel, answerOf, chat, createSession, post, request } from "../stack.ts";
import { expectAtRest, expectDeleted, inParallel, objectOf, storedOf } from "./counters.ts";

vi.setConfig({ testTimeout: 300_000 });

const MODEL = "storm-tiny";
const DAY_MS = 86_400_000;

beforeAll(async () => {
  await addTinyModel(MODEL);
  await answerOf(await post("/v1/chat/completions", chat(MODEL, "load", 1)));
});

test("300 clients that leave at random, of sessions and of lanes, leave no block, place or registration behind", async () => {
  const random = uniformSource(8);
  const pick = (num: number) => Math.floor(random() * num);
  const ids: string[] = [];
  const storm = async (i: number) => {
    const leaving = new AbortController();
    const isSession = i % 2 === 0;
    const id = isSession ? (await createSession(MODEL)).id : null;
    if (id !== null) ids.push(id);
    const path = id === null ? "/v1/chat/completions" : `/v1/sessions/${id}/messages`;
    const content = `client ${i} `.repeat(1 + pick(30));
    const body = { ...chat(MODEL, content, 1 + pick(60)), ...(id !== null && { content, messages: undefined }) };
    const init = { signal: leaving.signal };
    if (pick(3) === 0) scheduler.wait(pick(20)).then(() => leaving.abort());
    const response = await post(path, body, init).catch(() => null);
    if (response === null || !response.ok) return;
    if (pick(2) === 0) await response.body!.cancel().catch(() => {});
    else await readEvents(response, 1 + pick(40)).catch(() => {});
  };
  await inParallel([...Array(300).keys()], 60, storm);
  // Whoever has a session is answered to the end.
  for (const id of ids) {
    const { messages } = await untilIdle(id);
    expect(messages.every(({ finish_reason }) => finish_reason === null || finish_reason === "length")).toBe(true);
  }
  await expectAtRest(MODEL);
  await expectDeleted(ids);
});

test("a deploy in mid-stream: all objects are reset at once, every answer is whole, none is there twice", async () => {
  const NUM_TOKENS = 120;
  const sessions = await Promise.all([...Array(6).keys()].map(() => createSession(MODEL)));
  const alone = await createSession(MODEL);
  const whole = await answerOf(await send(alone.id, "survive", NUM_TOKENS));
  let numRead = 0;
  const read = sessions.map(async ({ id }) => {
    const events: string[] = [];
    for await (const event of eventsOf(await send(id, "survive", NUM_TOKENS))) {
      events.push(event);
      // Twice, while all of them are in the middle.
      if (++numRead === 240 || numRead === 480) await abortAllDurableObjects();
    }
    return events;
  });
  for (const events of await Promise.all(read)) {
    const texts = events.flatMap((event) => [...event.matchAll(/"delta":\{"content":("(?:[^"\\]|\\.)*")/g)]);
    expect(texts.map(([, text]) => JSON.parse(text!) as string).join("")).toBe(whole.text);
    const numbers = events.map((event) => Number(/^id: \d+-(\d+)/.exec(event)![1]));
    expect(numbers).toEqual(numbers.map((_, i) => numbers[0]! + i));
  }
  for (const { id } of sessions) {
    const { messages } = await untilIdle(id);
    expect(messages.map(({ role, finish_reason }) => [role, finish_reason])).toEqual([
      ["user", null],
      ["assistant", "length"],
    ]);
    expect(messages[1]!.content).toBe(whole.text);
    expect((await storedOf(id)).numTurns).toBe(1);
  }
  await expectAtRest(MODEL);
  await expectDeleted([...sessions.map(({ id }) => id), alone.id]);
});

test("a deploy that nobody waits for: what was being generated holds nothing", async () => {
  const sessions = await Promise.all([...Array(6).keys()].map(() => createSession(MODEL)));
  const readers = await Promise.all(sessions.map(async ({ id }) => eventsOf(await send(id, "and gone", 900))));
  for (const reader of readers) await reader.next();
  await abortAllDurableObjects();
  await Promise.all(readers.map((reader) => reader.return()));
  // Their next life, whoever asks for it, ends what the last one had, and here the session as well.
  for (const { id } of sessions) expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
  await expectAtRest(MODEL);
  for (const { id } of sessions) expect((await resume(id)).status).toBe(404);
});

describe("a clock that jumps", () => {
  const keptMs = 7 * DAY_MS;
  const block = { numKept: 1, numWritten: 1, isWhole: true, resident: Int32Array.of() };

  test.each([
    ["not at all", 0, keptMs],
    ["back after blocks were kept: they are kept no longer than from now on", -400 * DAY_MS, keptMs],
    ["a little forward", 6 * DAY_MS, DAY_MS],
    ["far forward: they are gone, and computed again", 400 * DAY_MS, null],
  ])("%s", (name, jumpMs, leftMs) =>
    runInDurableObject(objectOf(`clock ${name}`), (_, { storage }) => {
      const store = new KvStore(storage);
      const nowMs = 1_800_000_000_000;
      store.save("engine", nowMs + keptMs, (archive) => {
        archive.write(0, "hash", Int32Array.of(1), new Uint8Array(64));
        return block;
      });
      const thenMs = nowMs + jumpMs;
      const expired = (atMs: number) => {
        store.expire(atMs, keptMs);
        return store.expiresAtMs;
      };
      expect(expired(thenMs)).toBe(leftMs === null ? null : thenMs + leftMs);
      // The alarm that this sets is not followed by another one before its time.
      if (leftMs === null) return;
      expect(expired(thenMs)).toBe(thenMs + leftMs);
      expect(expired(thenMs + leftMs)).toBeNull();
    }),
  );

  test("back or forward in mid-answer ends no answer", async () => {
    const { id } = await createSession(MODEL);
    const realNow = Date.now;
    let numEvents = 0;
    try {
      const jumps = [0, 3 * DAY_MS, -DAY_MS, 90_000, -90_000];
      Date.now = () => realNow() + jumps[Math.floor(numEvents / 20) % jumps.length]!;
      for await (const event of eventsOf(await send(id, "tick", 150))) numEvents += event.length > 0 ? 1 : 0;
    } finally {
      Date.now = realNow;
    }
    expect(numEvents).toBeGreaterThan(100);
    const { messages } = await info(id);
    expect(messages[1]!.finish_reason).toBe("length");
    await expectAtRest(MODEL);
    await expectDeleted([id]);
  });
});
