/** Sockets that outlive their session's object, and those that do not: asleep, evicted in mid-answer, reset. */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { send, textOf, untilIdle } from "./sessions.ts";
import { connect, type SocketClient } from "./sockets.ts";
import { addTinyModel, createSession, STREAM, statsOf } from "./stack.ts";

const MODEL = "hibernation-tiny";
const NUM_TOKENS = 160;
const ASK = { max_tokens: NUM_TOKENS, ...STREAM };

beforeAll(async () => {
  await addTinyModel(MODEL);
});

const objectOf = (id: string) => env.CHAT_SESSION.getByName(id);

/** The same answer without anything going wrong. */
async function unbroken(content: string): Promise<string> {
  const { id } = await createSession(MODEL);
  return textOf(await send(id, content, NUM_TOKENS));
}

/** An instance that was evicted has lost what was written on it. */
const lifeOf = (id: string, name?: string) =>
  runInDurableObject(objectOf(id), (instance: object & { life?: string }) => {
    if (name !== undefined) instance.life = name;
    return instance.life;
  });

/**
 * Evicts an object in mid-answer, its sockets asleep: what the platform does when the time for work without a request
 * is over. The runtime of the tests waits for such work without end, so it is not told of it, and it stands still.
 */
async function evictInTurn(id: string, isFarEnough: () => Promise<void>, begin: () => void): Promise<void> {
  await runInDurableObject(objectOf(id), (_, ctx) => {
    ctx.waitUntil = () => {};
  });
  const { nextEvents } = isolateEngine;
  begin();
  await isFarEnough();
  isolateEngine.nextEvents = () => new Promise(() => {});
  try {
    await scheduler.wait(20);
    await evictDurableObject(objectOf(id));
  } finally {
    isolateEngine.nextEvents = nextEvents;
  }
}

const ids = (tab: SocketClient) => tab.of("event").map(({ id }) => id);

test("a session that sleeps keeps its sockets, answers a ping in its sleep, and wakes for a message", async () => {
  const { id } = await createSession(MODEL);
  const tabs = await Promise.all([connect(id), connect(id)]);
  await lifeOf(id, "first");
  await evictDurableObject(objectOf(id));
  tabs[0]!.say('{"type":"ping"}');
  await tabs[0]!.until(() => tabs[0]!.of("pong").length === 1);
  tabs[0]!.say({ type: "message", ref: "wake", content: "good morning", ...ASK });
  await Promise.all(tabs.map((tab) => tab.untilDone()));
  expect(await lifeOf(id)).toBeUndefined();
  expect(await tabs[0]!.reply("wake")).toMatchObject({ type: "turn" });
  await evictDurableObject(objectOf(id));
  await (await send(id, "by POST", 8)).text();
  await Promise.all(tabs.map((tab) => tab.untilDone(2)));
  expect(tabs[0]!.shared).toEqual(tabs[1]!.shared);
  expect(tabs.map(({ closed }) => closed)).toEqual([null, null]);
});

describe("an answer whose object is evicted in the middle of it", () => {
  test.each(["a message on a socket", "a POST", "a new tab"])("goes on in the same sockets after %s", async (waker) => {
    const { id } = await createSession(MODEL);
    const tabs = await Promise.all([connect(id), connect(id), connect(id)]);
    const [asker, other] = tabs as [SocketClient, SocketClient, SocketClient];
    await evictInTurn(
      id,
      () => other.until(() => other.texts.length > 60),
      () => asker.say({ type: "message", ref: "cut", content: "survive this", ...ASK }),
    );
    const numBefore = ids(asker).length;
    expect(numBefore).toBeLessThan(NUM_TOKENS - 20);
    if (waker === "a POST") await (await send(id, "refused", 4)).text();
    if (waker === "a new tab") tabs.push(await connect(id));
    if (waker === "a message on a socket") {
      other.say({ type: "message", ref: "no", content: "refused" });
      expect(await other.reply("no")).toMatchObject({ status: 409 });
    }
    await Promise.all(tabs.map((tab) => tab.untilDone()));
    for (const tab of tabs) expect(tab.shared).toEqual(asker.shared);
    // Each event once, in order.
    const { turn } = asker.of("turn")[0]!;
    expect(ids(asker)).toEqual(ids(asker).map((_, i) => `${turn}-${i + 1}`));
    expect(asker.answers).toEqual([await unbroken("survive this")]);
    expect((await untilIdle(id)).messages).toMatchObject([{}, { finish_reason: "length" }]);
    expect(statsOf(MODEL).numRunning).toBe(0);
  });

  test("ends for its sockets where it is stopped before it goes on", async () => {
    const { id } = await createSession(MODEL);
    const tabs = await Promise.all([connect(id), connect(id)]);
    await evictInTurn(
      id,
      () => tabs[1]!.until(() => tabs[1]!.texts.length > 60),
      () => tabs[0]!.say({ type: "message", content: "survive this", ...ASK }),
    );
    tabs[1]!.say({ type: "stop", ref: "enough" });
    expect(await tabs[1]!.reply("enough")).toMatchObject({ stopped: true });
    for (const tab of tabs) {
      await tab.untilDone();
      expect(tab.shared.some((frame) => frame.includes('"finish_reason":"abort"'))).toBe(true);
      expect(tab.shared).toEqual(tabs[0]!.shared);
    }
    expect((await untilIdle(id)).messages[1]).toMatchObject({ finish_reason: "abort" });
  });
});

test("sockets of an object that was reset close, and come back to the event that they had", async () => {
  const { id } = await createSession(MODEL);
  const tabs = await Promise.all([connect(id), connect(id)]);
  tabs[0]!.say({ type: "message", content: "survive this", ...ASK });
  await tabs[1]!.until(() => tabs[1]!.texts.length > 60);
  await abortAllDurableObjects();
  const whole = await Promise.all(
    tabs.map(async (tab) => {
      await tab.until(() => tab.closed !== null);
      expect(tab.closed).toMatchObject({ code: 1006 });
      const again = await connect(id, `last_event_id=${ids(tab).at(-1)}`);
      await again.untilDone();
      expect(again.of("turn")).toEqual(tab.of("turn"));
      return [...tab.shared, ...again.shared.slice(1)];
    }),
  );
  expect(whole[0]).toEqual(whole[1]);
  const text = whole[0]!.map((frame) => JSON.parse(frame).data?.choices?.[0]?.delta.content ?? "").join("");
  expect(text).toBe(await unbroken("survive this"));
});
