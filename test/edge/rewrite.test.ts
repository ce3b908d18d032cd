/** Histories that are changed after the fact, messages that wait, and conversations that outgrow the context. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { edit, idOf, info, readEvents, regenerate, resume, send, untilIdle } from "./sessions.ts";
import { addTinyModel, answerOf, createSession, errorOf, post, request, statsOf } from "./stack.ts";

const MODEL = "rewrite-tiny";
const OWNER = "rewriting-owner-0123456789";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

const contents = async (id: string) => (await info(id)).messages.map(({ content }) => content);

async function fork(id: string, body: object, owner: string | null = null): Promise<Response> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (owner !== null) headers["x-runnel-owner"] = owner;
  return request(`/v1/sessions/${id}/fork`, { method: "POST", headers, body: JSON.stringify(body) });
}

describe("regenerate", () => {
  test("puts another answer in the place of the last one, and finds what came before it in the cache", async () => {
    const { id } = await createSession(MODEL);
    const first = await answerOf(await send(id, "Tell me something about fish.", 40));
    const second = await answerOf(await send(id, "And about birds?", 30));
    const again = await answerOf(await regenerate(id, 30));
    expect(again.text).toBe(second.text);
    const { prompt_tokens, prompt_tokens_details } = again.usage;
    expect(prompt_tokens).toBe(second.usage.prompt_tokens);
    expect(prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(prompt_tokens - 17);
    const other = await answerOf(await regenerate(id, 30, { temperature: 1, seed: 3 }));
    expect(other.text).not.toBe(second.text);
    const { messages } = await info(id);
    expect(messages.map(({ content }) => content)).toEqual([
      "Tell me something about fish.",
      first.text,
      "And about birds?",
      other.text,
    ]);
    expect(messages[3]!.id).toBeGreaterThan(messages[2]!.id + 2);
  });

  test("needs a question, and waits for no running answer", async () => {
    const { id } = await createSession(MODEL);
    expect(await errorOf(await regenerate(id, 4))).toMatchObject({ status: 400 });
    const running = await send(id, "hello", 100);
    expect(await errorOf(await regenerate(id, 4))).toMatchObject({ status: 409 });
    await running.text();
  });
});

describe("an edit", () => {
  test("replaces a question and all that came after it", async () => {
    const { id } = await createSession(MODEL);
    await answerOf(await send(id, "one", 8));
    await answerOf(await send(id, "two", 8));
    const { messages } = await info(id);
    const answer = await answerOf(await edit(id, messages[0]!.id, "uno", 8));
    expect(await contents(id)).toEqual(["uno", answer.text]);
    expect((await info(id)).messages[0]!.id).toBe(messages[0]!.id);
    const fresh = await createSession(MODEL);
    expect((await answerOf(await send(fresh.id, "uno", 8))).text).toBe(answer.text);
  });

  test("of an answer, of nothing, or with too many words changes nothing", async () => {
    const { id } = await createSession(MODEL);
    await answerOf(await send(id, "one", 8));
    const before = await info(id);
    const [question, answer] = before.messages;
    expect(await errorOf(await edit(id, answer!.id, "x", 4))).toMatchObject({ status: 400, param: "message_id" });
    expect(await errorOf(await edit(id, 999, "x", 4))).toMatchObject({ status: 404 });
    const long = await errorOf(await edit(id, question!.id, "word ".repeat(2000), 4));
    expect(long).toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect(await info(id)).toEqual(before);
  });
});

describe("a fork", () => {
  test("has the history up to a message, lives by itself, and shares its owner's cache", async () => {
    const { id } = await createSession(MODEL, OWNER);
    await answerOf(await send(id, "Once upon a time there was a fish.", 40));
    const second = await answerOf(await send(id, "And then?", 20));
    const before = await info(id);
    const response = await fork(id, { message_id: before.messages[1]!.id, title: "Other" }, OWNER);
    const forked = (await response.json()) as { id: string; title: string };
    expect([response.status, forked.title]).toEqual([201, "Other"]);
    const answer = await answerOf(await send(forked.id, "And then?", 20));
    expect(answer.text).toBe(second.text);
    expect(answer.usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(answer.usage.prompt_tokens - 17);
    await answerOf(await send(forked.id, "More?", 4));
    expect(await info(id)).toEqual(before);
    await request(`/v1/sessions/${id}`, { method: "DELETE" });
    expect((await info(forked.id)).messages).toHaveLength(6);
    await request(`/v1/sessions/${forked.id}`, { method: "DELETE" });
  });

  test("of another owner finds nothing of it in the pool, and takes its own copy of what is kept", async () => {
    const { id } = await createSession(MODEL, OWNER);
    const first = await answerOf(await send(id, "A secret that is long enough to fill a block of the cache.", 40));
    const forked = (await (await fork(id, {})).json()) as { id: string };
    expect(await contents(forked.id)).toEqual(await contents(id));
    const before = statsOf(MODEL).numRestoredTokens;
    const answer = await answerOf(await send(forked.id, "Well?", 4));
    const { cached_tokens } = answer.usage.prompt_tokens_details;
    expect(cached_tokens).toBeGreaterThanOrEqual(first.usage.prompt_tokens + first.usage.completion_tokens - 17);
    // All of it came from the copy: what the owner has in the pool is another tenant's.
    expect(statsOf(MODEL).numRestoredTokens - before).toBe(cached_tokens);
    for (const each of [id, forked.id]) await request(`/v1/sessions/${each}`, { method: "DELETE" });
  });

  test("of an early message takes the blocks of what it has and no more", async () => {
    const { id } = await createSession(MODEL);
    const first = await answerOf(await send(id, "Once upon a time there was a fish.", 40));
    const second = await answerOf(await send(id, "And then?", 100));
    const { messages } = await info(id);
    const forked = (await (await fork(id, { message_id: messages[1]!.id })).json()) as { id: string };
    const rows = await runInDurableObject(env.CHAT_SESSION.getByName(forked.id), (_, { storage }) =>
      storage.sql.exec("SELECT block_index AS i FROM kv_block ORDER BY i").toArray(),
    );
    const [mark] = await runInDurableObject(env.CHAT_SESSION.getByName(id), (_, { storage }) =>
      storage.sql.exec("SELECT num_tokens AS n FROM transcript_mark ORDER BY answer_id").toArray(),
    );
    expect(mark!.n).toBeGreaterThan(first.usage.prompt_tokens);
    expect(rows).toEqual(Array.from({ length: Math.floor((mark!.n as number) / 16) }, (_, i) => ({ i })));
    expect((await answerOf(await send(forked.id, "And then?", 100))).text).toBe(second.text);
  });

  test("of a running answer is refused, of what is whole before it is not", async () => {
    const { id } = await createSession(MODEL);
    const running = await send(id, "long", 300);
    expect(await errorOf(await fork(id, {}))).toMatchObject({ status: 409 });
    expect(await errorOf(await fork(id, { message_id: 99 }))).toMatchObject({ status: 404 });
    const forked = (await (await fork(id, { message_id: 1 })).json()) as { id: string };
    // Its question has no answer yet: ask for one.
    expect((await answerOf(await regenerate(forked.id, 5))).usage.completion_tokens).toBe(5);
    expect(await contents(forked.id)).toHaveLength(2);
    await post(`/v1/sessions/${id}/stop`, {});
    await running.text();
  });
});

describe("a message during an answer", () => {
  test("waits where it is asked to, in order, up to four", async () => {
    const { id } = await createSession(MODEL);
    const running = await send(id, "0", 200);
    const waiting = ["1", "2", "3", "4"].map((content) => send(id, content, 10, { if_busy: "queue" }));
    await scheduler.wait(20);
    expect(await errorOf(await send(id, "5", 4, { if_busy: "queue" }))).toMatchObject({ code: "session_queue_full" });
    expect(await errorOf(await send(id, "6", 4))).toMatchObject({ code: "session_busy" });
    await running.text();
    for (const response of waiting) expect((await answerOf(await response)).usage.completion_tokens).toBe(10);
    const { messages } = await untilIdle(id);
    expect(messages.filter(({ role }) => role === "user").map(({ content }) => content)).toEqual([
      "0",
      "1",
      "2",
      "3",
      "4",
    ]);
    expect(messages.every(({ role, finish_reason }) => role === "user" || finish_reason === "length")).toBe(true);
  });

  test("whose client leaves while it waits holds nobody up", async () => {
    const { id } = await createSession(MODEL);
    const running = await send(id, "long", 300);
    const leaving = new AbortController();
    const body = JSON.stringify({ content: "left", max_tokens: 4, if_busy: "queue" });
    const headers = { "content-type": "application/json" };
    const left = request(`/v1/sessions/${id}/messages`, { method: "POST", headers, body, signal: leaving.signal });
    await scheduler.wait(20);
    leaving.abort();
    await left.catch(() => {});
    const next = await answerOf(await send(id, "next", 6, { if_busy: "queue" }));
    expect(next.usage.completion_tokens).toBe(6);
    await running.text();
    expect((await untilIdle(id)).messages.filter(({ finish_reason }) => finish_reason === "pending")).toEqual([]);
  });

  test("that waits is answered when the running one is stopped, and gone with the session", async () => {
    const { id } = await createSession(MODEL);
    const running = await send(id, "long", 900);
    const waiting = send(id, "next", 300, { if_busy: "queue" });
    const last = send(id, "last", 4, { if_busy: "queue" });
    await scheduler.wait(20);
    await post(`/v1/sessions/${id}/stop`, {});
    await running.text();
    const [event] = await readEvents(await waiting, 1);
    await request(`/v1/sessions/${id}`, { method: "DELETE" });
    expect(await errorOf(await last)).toMatchObject({ status: 404 });
    expect((await resume(id, idOf(event!))).status).toBe(404);
    expect(statsOf(MODEL).numRunning).toBe(0);
  });
});

describe("a conversation over the context", () => {
  test("is refused, or goes on without its oldest turns, and says without how many", async () => {
    const created = await post("/v1/sessions", { model: MODEL, system: "Be brief." });
    const { id } = (await created.json()) as { id: string };
    let numRefused = 0;
    let numTruncated = 0;
    for (let turn = 0; turn < 8; turn++) {
      const plain = await send(id, `Question ${turn}: what else is there to say?`, 200);
      if (plain.ok) {
        await plain.text();
        expect((await info(id)).truncated_messages).toBe(0);
        continue;
      }
      numRefused++;
      expect((await errorOf(plain)).code).toBe("context_length_exceeded");
      const response = await send(id, `Question ${turn}: what else is there to say?`, 200, { truncation: "auto" });
      numTruncated = Number(response.headers.get("x-runnel-truncated-messages"));
      expect((await answerOf(response)).usage.completion_tokens).toBe(200);
      expect((await info(id)).truncated_messages).toBe(numTruncated);
    }
    expect(numRefused).toBeGreaterThan(1);
    expect(numTruncated).toBeGreaterThan(0);
    expect(numTruncated % 2).toBe(0);
    expect((await info(id)).messages).toHaveLength(17);
  });

  test("and a last message that does not fit alone is refused all the same", async () => {
    const { id } = await createSession(MODEL);
    await answerOf(await send(id, "short", 4));
    const refused = await errorOf(await send(id, "word ".repeat(2000), 4, { truncation: "auto" }));
    expect(refused.code).toBe("context_length_exceeded");
    expect((await info(id)).messages).toHaveLength(2);
  });
});
