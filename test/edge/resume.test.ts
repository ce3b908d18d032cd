/** Streams that break, readers that come back, and objects that are gone in the middle of an answer. */
import { abortAllDurableObjects, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { modelStore } from "../../src/edge/model-store.ts";
import { uniformSource } from "../support/random.ts";
import { allOf, eventsOf, idOf, info, readEvents, resume, send, textOf, untilIdle, withoutNames } from "./sessions.ts";
import { addTinyModel, answerOf, createSession, errorOf, post, request, statsOf } from "./stack.ts";

const MODEL = "resume-tiny";
const NUM_TOKENS = 160;
const SAMPLED = { temperature: 1, seed: 11 };

beforeAll(async () => {
  await addTinyModel(MODEL);
});

/** The same answer without anything going wrong. */
async function unbroken(content: string, fields: object): Promise<string> {
  const { id } = await createSession(MODEL);
  return (await send(id, content, NUM_TOKENS, fields)).text();
}

describe("a stream", () => {
  test.each([1, 2, 3])("that is cut ten times at random is the same bytes when it is taken up (%i)", async (seed) => {
    const random = uniformSource(seed);
    const fields = { temperature: seed % 2, seed };
    const { id } = await createSession(MODEL);
    const events: string[] = [];
    let response = await send(id, "cut me into pieces", NUM_TOKENS, fields);
    for (let cut = 0; cut < 10; cut++) {
      events.push(...(await readEvents(response, 1 + Math.floor(random() * 14))));
      response = await resume(id, idOf(events.at(-1)!));
    }
    events.push(...(await readEvents(response, Number.POSITIVE_INFINITY)));
    expect(events.at(-1)).toMatch(/^id: \d+-\d+\ndata: \[DONE\]\n\n$/);
    // Kept after the turn, from any event on.
    const first = idOf(events[0]!);
    expect(await (await resume(id, first)).text()).toBe(events.slice(1).join(""));
    expect(withoutNames(events.join(""))).toBe(withoutNames(await unbroken("cut me into pieces", fields)));
    const over = await resume(id, idOf(events.at(-1)!));
    expect([over.status, await over.text()]).toEqual([204, ""]);
  });

  test("is read by a second tab from the beginning while the first one reads", async () => {
    const { id } = await createSession(MODEL);
    const mine = eventsOf(await send(id, "two of us", NUM_TOKENS));
    const read = [(await mine.next()).value!, (await mine.next()).value!];
    const theirs = await resume(id);
    expect(theirs.status).toBe(200);
    const [rest, other] = await Promise.all([allOf(mine), theirs.text()]);
    expect(other).toBe([...read, ...rest].join(""));
  });

  test("of a session that says nothing is a 204; of an earlier turn, a 410; of none, a 404", async () => {
    const { id } = await createSession(MODEL);
    expect((await resume(id)).status).toBe(204);
    const [event] = await readEvents(await send(id, "one", 4), 1);
    await untilIdle(id);
    expect((await resume(id)).status).toBe(204);
    await (await send(id, "two", 4)).text();
    expect(await errorOf(await resume(id, idOf(event!)))).toMatchObject({ status: 410, code: "stream_gone" });
    expect(await errorOf(await resume("0".repeat(32)))).toMatchObject({ status: 404 });
  });

  test("of an answer that was asked for in one piece is the same answer", async () => {
    const { id } = await createSession(MODEL);
    const answer = send(id, "whole", 40, { stream: false, stream_options: null });
    while ((await resume(id)).status === 204) await scheduler.wait(1);
    const text = await textOf(await resume(id, `${(await info(id)).messages.at(-1)!.id}-1`));
    const body = (await (await answer).json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]!.message.content).toBe(text);
  });

  test("ends for its readers when the session is deleted, and cannot be taken up", async () => {
    const { id } = await createSession(MODEL);
    const mine = eventsOf(await send(id, "delete me", 800));
    const { value: event } = await mine.next();
    const theirs = eventsOf(await resume(id));
    await theirs.next();
    expect((await request(`/v1/sessions/${id}`, { method: "DELETE" })).status).toBe(200);
    for (const reader of [mine, theirs]) expect((await allOf(reader)).at(-1)).toContain("[DONE]");
    expect((await resume(id, idOf(event!))).status).toBe(404);
    expect(statsOf(MODEL).numRunning).toBe(0);
  });
});

/** Nobody has asked since: the answer is neither whole nor given up. */
async function isCut(id: string): Promise<boolean> {
  return runInDurableObject(env.CHAT_SESSION.getByName(id), (_, { storage }) => {
    const { finish_reason } = storage.sql.exec("SELECT finish_reason FROM message WHERE role = 'assistant'").one();
    return finish_reason === "pending";
  });
}

describe("an answer whose object is gone in the middle of it", () => {
  test.each([
    ["greedy", { temperature: 0 }],
    ["sampled", SAMPLED],
    ["sampled, with logprobs", { ...SAMPLED, logprobs: true, top_logprobs: 2 }],
  ])("goes on to its reader as if nothing had happened: %s", async (_name, fields) => {
    const { id } = await createSession(MODEL);
    const events: string[] = [];
    for await (const event of eventsOf(await send(id, "survive this", NUM_TOKENS, fields))) {
      events.push(event);
      if (events.length !== 50 && events.length !== 90) continue;
      await abortAllDurableObjects();
      expect(await isCut(id)).toBe(true);
    }
    expect(withoutNames(events.join(""))).toBe(withoutNames(await unbroken("survive this", fields)));
    const { messages, busy } = await untilIdle(id);
    expect(busy).toBe(false);
    expect(messages).toMatchObject([{ role: "user" }, { role: "assistant", finish_reason: "length" }]);
    expect(await (await resume(id, idOf(events[0]!))).text()).toBe(events.slice(1).join(""));
    expect((await answerOf(await send(id, "and now?", 4))).usage.completion_tokens).toBe(4);
  });

  test.each([1, 20, 45, 100])(
    "goes on when somebody asks for it, from event %i, with the seed that was drawn",
    async (num) => {
      const { id } = await createSession(MODEL);
      const fields = { temperature: 1 };
      const mine = eventsOf(await send(id, "who is there?", NUM_TOKENS, fields));
      const read: string[] = [];
      while (read.length < num) read.push((await mine.next()).value!);
      await mine.return();
      await abortAllDurableObjects();
      expect(await isCut(id)).toBe(true);
      const tabs = [1, 2, 3].map(async () => (await resume(id, idOf(read.at(-1)!))).text());
      const [rest, ...others] = await Promise.all(tabs);
      for (const other of others) expect(other).toBe(rest);
      const { messages } = await untilIdle(id);
      const texts = [...(read.join("") + rest).matchAll(/"delta":\{"content":("(?:[^"\\]|\\.)*")/g)];
      expect(texts.map(([, text]) => JSON.parse(text!)).join("")).toBe(messages[1]!.content);
      expect(messages[1]!.finish_reason).toBe("length");
      expect(rest).toMatch(/\[DONE\]\n\n$/);
    },
  );

  test("goes on without the messages that it was begun without, after a conversation that it continued", async () => {
    const texts: string[] = [];
    for (const isDisturbed of [false, true]) {
      const { id } = await createSession(MODEL);
      await (await send(id, "a long one", 700)).text();
      const response = await send(id, "more than fits", 300, { ...SAMPLED, truncation: "auto" });
      expect(response.headers.get("x-runnel-truncated-messages")).toBe("2");
      const events: string[] = [];
      for await (const event of eventsOf(response)) {
        events.push(event);
        if (isDisturbed && events.length === 60) await abortAllDurableObjects();
      }
      texts.push(withoutNames(events.join("")));
      await (await send(id, "and on it goes", 30, { truncation: "auto" })).text();
      const { messages, truncated_messages } = await info(id);
      expect(truncated_messages).toBe(2);
      texts.push(messages.at(-1)!.content);
    }
    expect(texts.slice(2)).toEqual(texts.slice(0, 2));
  });

  test("is busy until then: a message is refused, or waits for it", async () => {
    const { id } = await createSession(MODEL);
    await readEvents(await send(id, "first", NUM_TOKENS), 60);
    await abortAllDurableObjects();
    const [refused, waiting] = await Promise.all([send(id, "no", 4), send(id, "second", 4, { if_busy: "queue" })]);
    expect(await errorOf(refused)).toMatchObject({ status: 409 });
    await waiting.text();
    const { messages } = await info(id);
    expect(messages.map(({ finish_reason }) => finish_reason)).toEqual([null, "length", null, "length"]);
    expect(withoutNames(messages[1]!.content)).toBe(
      await textOf(await send((await createSession(MODEL)).id, "first", NUM_TOKENS)),
    );
  });

  test("is kept as it is, marked, with a clear end of its stream, where it is stopped or can never go on", async () => {
    const gone = await addTinyModel(`${MODEL}-gone`);
    const ids = await Promise.all([MODEL, gone].map(async (model) => (await createSession(model)).id));
    const read = await Promise.all(ids.map(async (id) => readEvents(await send(id, "partly", 900), 70)));
    await abortAllDurableObjects();
    expect(await (await post(`/v1/sessions/${ids[0]}/stop`, {})).json()).toEqual({ stopped: true });
    // Another file under the same name would go on with other words.
    await addTinyModel(gone, { seed: 5 });
    // A name that is not known makes the list be read again, a while after the last time.
    await scheduler.wait(600);
    await modelStore.find(env, "nobody").catch(() => {});
    for (const [i, id] of ids.entries()) {
      const rest = await (await resume(id, idOf(read[i]![30]!))).text();
      expect(rest).toContain('"finish_reason":"abort"');
      expect(rest).toMatch(/\[DONE\]\n\n$/);
      const { messages, busy } = await info(id);
      expect([busy, messages[1]!.finish_reason]).toEqual([false, "abort"]);
      expect(messages[1]!.content.length).toBeGreaterThan(0);
    }
  });

  test("is given up when it brings its object down again and again", async () => {
    const { id } = await createSession(MODEL);
    await readEvents(await send(id, "over and over", 900), 40);
    await abortAllDurableObjects();
    await runInDurableObject(env.CHAT_SESSION.getByName(id), (_, { storage }) => {
      storage.sql.exec("UPDATE turn SET num_restarts = 4");
    });
    await info(id);
    expect((await untilIdle(id)).messages[1]!.finish_reason).toBe("abort");
  });
});
