/** Answers that span many invocations, and messages that wait: nobody notices what happens between two of them. */
import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { ChatSession } from "../../src/edge/chat-session.ts";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { LoadedModel } from "../../src/edge/model-loader.ts";
import { Turn } from "../../src/edge/turn.ts";
import { unavailable } from "../../src/protocol/errors.ts";
import { allOf, eventsOf, idOf, info, readEvents, resume, send, untilIdle, withoutNames } from "./sessions.ts";
import { addTinyModel, answerOf, chat, createSession, errorOf, post, request, statsOf } from "./stack.ts";

const MODEL = "handover-tiny";
const NUM_TOKENS = 160;
const SAMPLED = { temperature: 1, seed: 3 };

const objectOf = (id: string) => env.CHAT_SESSION.getByName(id) as DurableObjectStub<ChatSession>;
const exec = (id: string, sql: string) =>
  runInDurableObject(objectOf(id), (_, { storage }) => storage.sql.exec(sql).toArray());
const alarmAtMs = (id: string) => runInDurableObject(objectOf(id), (_, { storage }) => storage.getAlarm());

beforeAll(async () => {
  await addTinyModel(MODEL);
});

afterEach(() => {
  vi.restoreAllMocks();
  setBudget(undefined);
});

/** CPU time of an invocation, estimated by clock and work: at 1 ms each gets a few steps. */
function setBudget(ms: number | undefined): void {
  Object.assign(env, { TURN_CPU_MS: ms?.toString() });
}

function countRuns() {
  return vi.spyOn(Turn.prototype, "run");
}

/** A session's answer in one invocation. */
async function unbroken(content: string, fields: object = SAMPLED): Promise<string> {
  setBudget(undefined);
  const { id } = await createSession(MODEL);
  return withoutNames(await (await send(id, content, NUM_TOKENS, fields)).text());
}

async function untilKept(id: string, numBlocks: number): Promise<void> {
  const count = async () => {
    const [table] = await exec(id, "SELECT 1 FROM sqlite_master WHERE name = 'kv_block'");
    return table === undefined ? 0 : (await exec(id, "SELECT count(*) AS n FROM kv_block"))[0]!.n;
  };
  for (let i = 0; i < 200 && (await count()) !== numBlocks; i++) await scheduler.wait(10);
  expect(await count()).toBe(numBlocks);
}

describe("an answer over many invocations", () => {
  test("is that of one: events with their ids, text, token ids, KV", async () => {
    const results: unknown[] = [];
    for (const budgetMs of [undefined, 1]) {
      const runs = countRuns();
      setBudget(budgetMs);
      const { id } = await createSession(MODEL);
      const text = withoutNames(await (await send(id, "a long story", NUM_TOKENS, SAMPLED)).text());
      const { messages } = await untilIdle(id);
      const [transcript] = await exec(id, "SELECT hex(tokens) AS ids, length(tokens) / 4 AS n FROM transcript");
      await untilKept(id, Math.floor(((transcript!.n as number) - 1) / 16));
      const rows = await exec(id, "SELECT block_index, hash, checksum, hex(bytes) AS kv FROM kv_block ORDER BY 1");
      results.push({ text, rows, transcript, answer: [messages[1]!.content, messages[1]!.finish_reason] });
      if (budgetMs === undefined) expect(runs).toHaveBeenCalledTimes(1);
      else expect(runs.mock.calls.length).toBeGreaterThanOrEqual(3);
      vi.restoreAllMocks();
    }
    expect(results[1]).toEqual(results[0]);
  });

  test("is made to its end without a reader, and for a second one, that of all", async () => {
    setBudget(1);
    const { id } = await createSession(MODEL);
    const [first] = await readEvents(await send(id, "nobody", NUM_TOKENS, SAMPLED), 1);
    const rest = await (await resume(id, idOf(first!))).text();
    expect((await untilIdle(id)).messages[1]!.finish_reason).toBe("length");
    expect(withoutNames(first + rest)).toBe(await unbroken("nobody"));
  });

  test("goes on after evictions between them", async () => {
    const runs = countRuns();
    setBudget(1);
    const { id } = await createSession(MODEL);
    const events: string[] = [];
    for await (const event of eventsOf(await send(id, "evicted", NUM_TOKENS, SAMPLED))) {
      events.push(event);
      if (events.length % 40 === 0) await abortAllDurableObjects();
    }
    expect(runs.mock.calls.length).toBeGreaterThanOrEqual(6);
    expect(withoutNames(events.join(""))).toBe(await unbroken("evicted"));
    expect((await untilIdle(id)).messages).toHaveLength(2);
  });

  test("can be stopped between them: what there is of it is kept, and the next one works", async () => {
    setBudget(1);
    const { id } = await createSession(MODEL);
    const mine = eventsOf(await send(id, "stop me", 800));
    for (let i = 0; i < 30; i++) await mine.next();
    expect(await (await post(`/v1/sessions/${id}/stop`, {})).json()).toEqual({ stopped: true });
    const rest = await allOf(mine);
    expect(rest.at(-1)).toContain("[DONE]");
    const { messages, busy } = await info(id);
    expect([busy, messages[1]!.finish_reason]).toEqual([false, "abort"]);
    expect(messages[1]!.content.length).toBeGreaterThan(20);
    expect((await answerOf(await send(id, "again", 30))).usage.completion_tokens).toBe(30);
    expect(statsOf(MODEL).numRunning).toBe(0);
  });

  test("can be deleted between them: nothing is left, and nothing rings", async () => {
    setBudget(1);
    const { id } = await createSession(MODEL);
    const mine = eventsOf(await send(id, "delete me", 800));
    for (let i = 0; i < 30; i++) await mine.next();
    expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
    expect((await allOf(mine)).at(-1)).toContain("[DONE]");
    await scheduler.wait(50);
    expect(await alarmAtMs(id)).toBeNull();
    const tables = await exec(
      id,
      "SELECT 1 FROM sqlite_master WHERE name NOT LIKE '%cf_%' AND name NOT LIKE 'sqlite_%'",
    );
    expect(tables).toEqual([]);
    expect(statsOf(MODEL).numRunning).toBe(0);
  });
});

describe("the runtime's signal that CPU time is nearly over", () => {
  test("sends a session's answer to the next invocation", async () => {
    const runs = countRuns();
    let numSteps = 0;
    vi.spyOn(LoadedModel.prototype, "takeCpuSignal").mockImplementation(() => ++numSteps % 50 === 0);
    const { id } = await createSession(MODEL);
    const text = withoutNames(await (await send(id, "signal", NUM_TOKENS, SAMPLED)).text());
    expect(runs.mock.calls.length).toBeGreaterThanOrEqual(3);
    vi.restoreAllMocks();
    expect(text).toBe(await unbroken("signal"));
  });

  test("ends all stateless answers of an object with what they have, as finish reason length", async () => {
    const names = ["one", "two", "three"];
    const whole = await Promise.all(
      names.map(async (name) => (await answerOf(await post("/v1/chat/completions", chat(MODEL, name, 120)))).text),
    );
    const keyed = (name: string) => ({ ...chat(MODEL, name, 120), prompt_cache_key: "together" });
    const responses = await Promise.all(names.map((name) => post("/v1/chat/completions", keyed(name))));
    // Only now: all of them are in the object, however slowly they came.
    let numSteps = 0;
    vi.spyOn(LoadedModel.prototype, "takeCpuSignal").mockImplementation(() => ++numSteps === 60);
    const cut = await Promise.all(responses.map(answerOf));
    for (const [i, { text, finishReason, usage }] of cut.entries()) {
      expect(finishReason).toBe("length");
      expect(usage.completion_tokens).toBeLessThan(70);
      expect(usage.completion_tokens).toBeGreaterThan(0);
      expect(whole[i]!.startsWith(text)).toBe(true);
    }
    expect([statsOf(MODEL).numRunning, statsOf(MODEL).numWaiting]).toEqual([0, 0]);
    expect((await answerOf(await post("/v1/chat/completions", keyed("four")))).usage.completion_tokens).toBe(120);
  });
});

describe("an answer whose generation is lost while its object lives", () => {
  test.each(["because there is no engine right now", "because somebody took it for abandoned"])(
    "goes on with another one, as if nothing had been: %s",
    async (reason) => {
      const { id } = await createSession(MODEL);
      const events: string[] = [];
      for await (const event of eventsOf(await send(id, "lost", NUM_TOKENS, SAMPLED))) {
        events.push(event);
        if (events.length !== 50) continue;
        const nextEvents = vi.spyOn(isolateEngine, "nextEvents");
        if (reason.includes("no engine")) nextEvents.mockRejectedValueOnce(unavailable("Not now.", 1));
        else {
          nextEvents.mockImplementationOnce(async (_env, _model, generation) => {
            generation.abort();
            return [];
          });
        }
        await vi.waitFor(async () => {
          const inMs = (await alarmAtMs(id))! - Date.now();
          expect([inMs > 0, inMs <= 5000]).toEqual([true, true]);
        });
        expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
      }
      expect(withoutNames(events.join(""))).toBe(await unbroken("lost"));
      expect((await untilIdle(id)).messages[1]!.finish_reason).toBe("length");
    },
  );
});

describe("the alarm", () => {
  test("goes on with an answer that was cut, when no client ever comes back", async () => {
    const { id } = await createSession(MODEL);
    await readEvents(await send(id, "left alone", NUM_TOKENS, SAMPLED), 60);
    const atMs = (await alarmAtMs(id))!;
    expect(atMs - Date.now()).toBeLessThanOrEqual(30_000);
    await abortAllDurableObjects();
    expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
    const rows = () => exec(id, "SELECT finish_reason FROM message WHERE role = 'assistant'");
    for (let i = 0; i < 500 && (await rows())[0]!.finish_reason === "pending"; i++) await scheduler.wait(10);
    expect(await rows()).toEqual([{ finish_reason: "length" }]);
  });
});

describe("a message that waits", () => {
  test("survives an eviction, is answered in its turn by itself, and once", async () => {
    const { id } = await createSession(MODEL);
    const first = await send(id, "first", NUM_TOKENS, SAMPLED);
    const waiting = ["second", "third"].map((content) =>
      send(id, content, 12, { if_busy: "queue" }).then(
        (response) => response.text(),
        () => "cut",
      ),
    );
    await readEvents(first, 50);
    await vi.waitFor(async () =>
      expect(await exec(id, "SELECT count(*) AS n FROM waiting_message")).toEqual([{ n: 2 }]),
    );
    await abortAllDurableObjects();
    await Promise.all(waiting);
    expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
    const { messages } = await untilIdle(id);
    expect(messages.map(({ role, content }) => (role === "user" ? content : role))).toEqual([
      ...["first", "assistant", "second", "assistant", "third", "assistant"],
    ]);
    expect(messages.filter(({ role }) => role === "assistant").map((message) => message.finish_reason)).toEqual(
      new Array(3).fill("length"),
    );
    expect(await exec(id, "SELECT * FROM waiting_message")).toEqual([]);
  });

  test("is dropped where the model refuses it and nobody is there to be told", async () => {
    const { id } = await createSession(MODEL);
    const first = await send(id, "first", NUM_TOKENS, SAMPLED);
    const waiting = [send(id, "much ".repeat(2000), 12, { if_busy: "queue" }), send(id, "ok", 4, { if_busy: "queue" })];
    const settled = Promise.allSettled(waiting);
    await readEvents(first, 50);
    await vi.waitFor(async () =>
      expect(await exec(id, "SELECT count(*) AS n FROM waiting_message")).toEqual([{ n: 2 }]),
    );
    await abortAllDurableObjects();
    await settled;
    const { messages } = await untilIdle(id);
    expect(messages.map(({ content }) => content).filter((_, i) => i % 2 === 0)).toEqual(["first", "ok"]);
  });

  test("is tried again later while there is no engine, behind the answer that was cut", async () => {
    const { id } = await createSession(MODEL);
    const first = await send(id, "first", NUM_TOKENS, SAMPLED);
    const settled = Promise.allSettled([send(id, "later", 4, { if_busy: "queue" })]);
    await readEvents(first, 50);
    await vi.waitFor(async () =>
      expect(await exec(id, "SELECT count(*) AS n FROM waiting_message")).toEqual([{ n: 1 }]),
    );
    const acquire = vi.spyOn(isolateEngine, "acquire").mockRejectedValue(unavailable("Not now.", 1));
    await abortAllDurableObjects();
    await settled;
    expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
    expect(acquire).toHaveBeenCalled();
    expect(await exec(id, "SELECT finish_reason FROM message WHERE role = 'assistant'")).toEqual([
      { finish_reason: "pending" },
    ]);
    await vi.waitFor(async () => expect((await alarmAtMs(id))! - Date.now()).toBeGreaterThan(1000));
    vi.restoreAllMocks();
    expect(await runDurableObjectAlarm(objectOf(id))).toBe(true);
    const { messages } = await untilIdle(id);
    expect(messages.map(({ finish_reason }) => finish_reason)).toEqual([null, "length", null, "length"]);
    expect(messages[2]!.content).toBe("later");
  });

  test("is bounded in number, and those over the bound are told", async () => {
    const { id } = await createSession(MODEL);
    const first = await send(id, "first", 300);
    const responses = Array.from({ length: 6 }, (_, i) => send(id, `number ${i}`, 2, { if_busy: "queue" }));
    const refused = await Promise.race(responses);
    expect(await errorOf(refused)).toMatchObject({ status: 409, code: "session_queue_full" });
    await first.text();
    const statuses = (await Promise.all(responses)).map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 200, 200, 200, 409, 409]);
    await untilIdle(id);
    expect((await info(id)).messages).toHaveLength(10);
  });
});
