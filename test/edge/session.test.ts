/** A conversation's life, through the routes: turns, readers that leave, stops, faults, deletion. */
import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { info, send, untilIdle } from "./sessions.ts";
import { addTinyModel, answerOf, chunksOf, createSession, errorOf, post, request, statsOf } from "./stack.ts";

const MODEL = "session-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

describe("turns", () => {
  test("the second one finds the first in the cache, and both are in the history", async () => {
    const { id } = await createSession(MODEL);
    const first = await answerOf(await send(id, "Tell me something about fish.", 40));
    expect(first.usage.prompt_tokens_details.cached_tokens).toBe(0);
    const second = await answerOf(await send(id, "And now?", 8));
    const { prompt_tokens, prompt_tokens_details } = second.usage;
    // All but the last, unfinished block of the first turn and the new message.
    expect(prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(
      first.usage.prompt_tokens + first.usage.completion_tokens - 33,
    );
    expect(prompt_tokens_details.cached_tokens).toBeLessThan(prompt_tokens);
    const { messages, title, busy } = await info(id);
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      ["user", "Tell me something about fish."],
      ["assistant", first.text],
      ["user", "And now?"],
      ["assistant", second.text],
    ]);
    expect(title).toBe("Tell me something about fish.");
    expect(busy).toBe(false);
  });

  test("another owner's session finds nothing in the cache", async () => {
    const content = "The same words in two sessions, long enough to fill a block or two of the cache.";
    const [mine, theirs] = [await createSession(MODEL, "a".repeat(32)), await createSession(MODEL, "b".repeat(32))];
    await answerOf(await send(mine.id, content, 4));
    const answer = await answerOf(await send(theirs.id, content, 4));
    expect(answer.usage.prompt_tokens_details.cached_tokens).toBe(0);
  });

  test("a message during an answer is refused with 409 and leaves no trace", async () => {
    const { id } = await createSession(MODEL);
    const running = await send(id, "first", 200);
    const error = await errorOf(await send(id, "second", 4));
    expect(error).toMatchObject({ status: 409, code: "session_busy" });
    expect((await answerOf(running)).usage.completion_tokens).toBe(200);
    expect((await info(id)).messages).toHaveLength(2);
  });

  test("of two messages at once exactly one is answered", async () => {
    const { id } = await createSession(MODEL);
    const responses = await Promise.all([send(id, "one", 20), send(id, "two", 20)]);
    expect(responses.map(({ status }) => status).sort()).toEqual([200, 409]);
    await Promise.all(responses.map((response) => response.text()));
    expect((await untilIdle(id)).messages).toHaveLength(2);
  });

  test("a message that does not fit the context is refused and not stored", async () => {
    const { id } = await createSession(MODEL);
    await answerOf(await send(id, "short", 4));
    const error = await errorOf(await send(id, "word ".repeat(2000), 4));
    expect(error).toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect((await info(id)).messages).toHaveLength(2);
    await answerOf(await send(id, "short again", 4));
    expect((await info(id)).messages).toHaveLength(4);
  });
});

describe("an answer", () => {
  test("is completed and kept when its reader leaves", async () => {
    const { id } = await createSession(MODEL);
    const chunks = chunksOf(await send(id, "go on without me", 150));
    for (let i = 0; i < 4; i++) await chunks.next();
    await chunks.return();
    const { messages } = await untilIdle(id);
    expect(messages[1]).toMatchObject({ role: "assistant", finish_reason: "length" });
    const again = await createSession(MODEL);
    const whole = await answerOf(await send(again.id, "go on without me", 150));
    expect(messages[1]!.content).toBe(whole.text);
  });

  test("ends at stop, is kept as far as it came, and the next turn continues from it", async () => {
    const { id } = await createSession(MODEL);
    const chunks = chunksOf(await send(id, "stop me", 900));
    let text = "";
    for (let i = 0; i < 20; i++) text += (await chunks.next()).value?.choices[0]?.delta.content ?? "";
    const stopped = await post(`/v1/sessions/${id}/stop`, {});
    expect(stopped.status).toBe(200);
    for await (const chunk of chunks) text += chunk.choices[0]?.delta.content ?? "";
    const { messages, busy } = await info(id);
    expect(busy).toBe(false);
    expect(messages[1]).toMatchObject({ content: text, finish_reason: "abort" });
    expect(statsOf(MODEL).numRunning).toBe(0);
    const next = await answerOf(await send(id, "next", 4));
    expect(next.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(0);
  });

  test("can be stopped when none runs: nothing happens", async () => {
    const { id } = await createSession(MODEL);
    expect((await post(`/v1/sessions/${id}/stop`, {})).status).toBe(200);
    expect((await info(id)).messages).toEqual([]);
  });
});

describe("the object", () => {
  test("continues after an eviction with its history and the cached prefix", async () => {
    const { id } = await createSession(MODEL);
    const first = await answerOf(await send(id, "remember this", 30));
    await evictDurableObject(env.CHAT_SESSION.getByName(id));
    const second = await answerOf(await send(id, "still there?", 4));
    expect(second.usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(first.usage.prompt_tokens - 16);
    expect((await info(id)).messages).toHaveLength(4);
  });

  test("is gone after DELETE, with its entry in the owner's list, also in mid-answer", async () => {
    const owner = "c".repeat(32);
    const list = async () => {
      const response = await request("/v1/sessions", { headers: { "x-runnel-owner": owner } });
      return ((await response.json()) as { data: { id: string }[] }).data.map((entry) => entry.id);
    };
    const kept = await createSession(MODEL, owner);
    const dropped = await createSession(MODEL, owner);
    await answerOf(await send(kept.id, "keep me", 4));
    expect(await list()).toEqual([kept.id, dropped.id]);
    const running = await send(dropped.id, "delete me", 800);
    expect((await request(`/v1/sessions/${dropped.id}`, { method: "DELETE" })).status).toBe(200);
    await running.text();
    expect(await list()).toEqual([kept.id]);
    expect((await request(`/v1/sessions/${dropped.id}`)).status).toBe(404);
    expect((await send(dropped.id, "hello?", 4)).status).toBe(404);
    expect(statsOf(MODEL).numRunning).toBe(0);
  });

  test("that nobody created is 404, whatever is asked of it", async () => {
    const id = crypto.randomUUID();
    const asked = [
      request(`/v1/sessions/${id}`),
      request(`/v1/sessions/${id}`, { method: "DELETE" }),
      send(id, "hi", 4),
      post(`/v1/sessions/${id}/stop`, {}),
    ];
    for (const response of await Promise.all(asked)) expect((await errorOf(response)).status).toBe(404);
  });
});
