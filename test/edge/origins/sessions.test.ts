/** Conversations with models of origins: what a session keeps, resumes and rewrites, and what faults do to it. */
import { abortAllDurableObjects, runDurableObjectAlarm } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test } from "vitest";
import { usualPieces } from "../../support/upstream-server.ts";
import { ORIGIN_KEY } from "../origin-config.ts";
import {
  allOf,
  edit,
  eventsOf,
  idOf,
  info,
  readEvents,
  regenerate,
  resume,
  send,
  textOf,
  untilIdle,
} from "../sessions.ts";
import { addTinyModel, answerOf, createSession, errorOf, post } from "../stack.ts";
import { callsTo, endedCall, resetOrigins, script } from "./upstream.ts";

const usual = (question: string, numPieces: number) => usualPieces(question, numPieces).join("");

beforeEach(resetOrigins);

interface SentMessage {
  role: string;
  content: string;
}

const promptsOf = async (origin: string): Promise<string[][]> =>
  (await callsTo(origin)).map(({ body }) => (body!.messages as SentMessage[]).map(({ content }) => content));

describe("a session on an origin's model", () => {
  test("keeps its history and sends all of it, to one origin and under a salt that names nobody", async () => {
    const owner = "an-owner-that-nobody-guesses";
    const { id } = await createSession("vllm-big", owner);
    const first = await answerOf(await send(id, "one", 6));
    expect(first).toMatchObject({ text: usual("one", 6), finishReason: "length" });
    expect(first.usage).toMatchObject({ prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 3 } });
    await answerOf(await send(id, "two", 6));
    expect(await promptsOf("vllm")).toEqual([["one"], ["one", usual("one", 6), "two"]]);
    const { messages } = await info(id);
    expect(messages.map(({ content }) => content)).toEqual(["one", usual("one", 6), "two", usual("two", 6)]);
    const salts = (await callsTo("vllm")).map(({ body }) => body!.cache_salt as string);
    expect(salts[0]).toMatch(/^session:[0-9a-f]{64}$/);
    expect(salts[1]).toBe(salts[0]);
    expect(JSON.stringify(await callsTo("vllm"))).not.toContain(owner);
  });

  test("answers again, takes other words, and can be forked", async () => {
    const { id } = await createSession("plain-big");
    await answerOf(await send(id, "one", 4));
    await answerOf(await send(id, "two", 4));
    expect((await answerOf(await regenerate(id, 5))).text).toBe(usual("two", 5));
    const { messages } = await info(id);
    expect((await answerOf(await edit(id, messages[0]!.id, "uno", 4))).text).toBe(usual("uno", 4));
    expect((await promptsOf("plain")).slice(2)).toEqual([["one", usual("one", 4), "two"], ["uno"]]);
    const fork = (await (await post(`/v1/sessions/${id}/fork`, {})).json()) as { id: string };
    await answerOf(await send(fork.id, "and?", 4));
    expect((await promptsOf("plain")).at(-1)).toEqual(["uno", usual("uno", 4), "and?"]);
  });

  test("answers without its reader, and a stream is taken up where it broke", async () => {
    await script("plain", { pauseMs: 2 });
    const { id } = await createSession("plain-big");
    const events = await readEvents(await send(id, "leave me", 60), 10);
    const rest = await allOf(eventsOf(await resume(id, idOf(events.at(-1)!))));
    const text = [...events, ...rest].map((event) => /"content":"([^"]*)"/.exec(event)?.[1] ?? "").join("");
    expect(text).toBe(usual("leave me", 60));
    expect((await untilIdle(id)).messages[1]).toMatchObject({ content: text, finish_reason: "length" });
    expect(await callsTo("plain")).toHaveLength(1);
    expect(await (await resume(id, idOf(events[0]!))).text()).toBe([...events.slice(1), ...rest].join(""));
  });

  test("stops at once, at the origin, too, and keeps what there is", async () => {
    await script("plain", { pauseMs: 4 });
    const { id } = await createSession("plain-big");
    const events = eventsOf(await send(id, "stop me", 2000));
    for (let i = 0; i < 8; i++) await events.next();
    expect(await (await post(`/v1/sessions/${id}/stop`, {})).json()).toEqual({ stopped: true });
    const rest = (await allOf(events)).join("");
    expect(rest).toContain('"finish_reason":"abort"');
    expect(rest).toMatch(/"completion_tokens":[1-9]/);
    expect((await endedCall("plain")).state).toBe("closed");
    const { messages, busy } = await untilIdle(id);
    expect(busy).toBe(false);
    expect(usual("stop me", 400).startsWith(messages[1]!.content)).toBe(true);
    expect((await answerOf(await send(id, "and now", 4))).text).toBe(usual("and now", 4));
  });

  test("leaves no trace of a message that the origin refuses, and the oldest out of one that is too long", async () => {
    const tooLong = { status: 400, body: JSON.stringify({ error: { message: "maximum context length is 8 tokens" } }) };
    const { id } = await createSession("plain-big");
    for (const question of ["a", "b", "c"]) await answerOf(await send(id, question, 2));
    await script("plain", tooLong);
    expect(await errorOf(await send(id, "d", 2))).toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect((await info(id)).messages).toHaveLength(6);
    // Too long with all and without the first four messages; fits without the first six.
    await script("plain", tooLong, tooLong);
    const response = await send(id, "d", 2, { truncation: "auto" });
    expect(response.headers.get("x-runnel-truncated-messages")).toBe("6");
    await response.text();
    expect((await promptsOf("plain")).at(-1)).toEqual(["d"]);
  });

  test("is answered by an edge model where the origin is away, marked, and by the origin again later", async () => {
    await addTinyModel("stand-in");
    const { id } = await createSession("shaky-big");
    await script("shaky", { status: 503 });
    const away = await send(id, "hello?", 4);
    expect(away.headers.get("x-runnel-fallback")).toBe("stand-in");
    expect(await away.text()).toContain('"model":"stand-in"');
    const back = await send(id, "hello!", 4);
    expect(back.headers.get("x-runnel-fallback")).toBeNull();
    expect((await answerOf(back)).text).toBe(usual("hello!", 4));
    const prompts = await promptsOf("shaky");
    expect(prompts.at(-1)).toEqual(["hello?", (await info(id)).messages[1]!.content, "hello!"]);
  });
});

describe("an answer of an origin whose object is gone in the middle of it", () => {
  test("goes on from its words where the origin can, and its reader notices nothing", async () => {
    await script("vllm", { pauseMs: 3 }, { pauseMs: 1 });
    const { id } = await createSession("vllm-big");
    const events: string[] = [];
    for await (const event of eventsOf(await send(id, "survive this", 120))) {
      events.push(event);
      if (events.length === 50) await abortAllDurableObjects();
    }
    const text = events.map((event) => /"content":"([^"]*)"/.exec(event)?.[1] ?? "").join("");
    expect(text).toBe(usual("survive this", 120));
    expect((await untilIdle(id)).messages[1]).toMatchObject({ content: text, finish_reason: "length" });
    const [first, second] = await callsTo("vllm");
    expect(first!.state).toBe("closed");
    expect(second!.body).toMatchObject({ continue_final_message: true, add_generation_prompt: false });
    const known = (second!.body!.messages as SentMessage[]).at(-1)!;
    expect([known.role, text.startsWith(known.content), known.content.length > 0]).toEqual(["assistant", true, true]);
    // What it counts is the whole answer.
    expect(events.join("")).toContain('"completion_tokens":120');
  });

  test("keeps what it has, marked, where the origin cannot", async () => {
    await script("plain", { pauseMs: 3 });
    const { id } = await createSession("plain-big");
    const events = await readEvents(await send(id, "survive this", 400), 60);
    await abortAllDurableObjects();
    const rest = await (await resume(id, idOf(events.at(-1)!))).text();
    expect(rest).toContain('"finish_reason":"abort"');
    expect(rest).toMatch(/\[DONE\]\n\n$/);
    const { messages } = await untilIdle(id);
    expect(messages[1]!.finish_reason).toBe("abort");
    expect(usual("survive this", 400).startsWith(messages[1]!.content)).toBe(true);
    expect(messages[1]!.content.length).toBeGreaterThan(0);
    expect((await endedCall("plain")).state).toBe("closed");
    expect((await answerOf(await send(id, "next", 4))).text).toBe(usual("next", 4));
  });
});

describe("an origin that breaks in mid-answer", () => {
  test("ends the answer with a clear error, keeps its part, and the next message works", async () => {
    await script("plain", { fault: { afterPieces: 6, kind: "cut" }, pauseMs: 1 });
    const { id } = await createSession("plain-big");
    const text = await (await send(id, "break", 20)).text();
    expect(text).toMatch(/"error":\{"message":"The answer of origin 'plain' broke off: [^"]*","type":"server_error"/);
    expect(text).not.toContain(ORIGIN_KEY);
    const { messages } = await untilIdle(id);
    expect(messages[1]!.finish_reason).toBe("abort");
    expect(usual("break", 20).startsWith(messages[1]!.content)).toBe(true);
    expect((await answerOf(await send(id, "next", 4))).text).toBe(usual("next", 4));
  });

  test("is asked to go on where it can, once the session's alarm rings or somebody asks", async () => {
    await script("vllm", { fault: { afterPieces: 40, kind: "cut" }, pauseMs: 1 });
    const { id } = await createSession("vllm-big");
    const text = textOf(await send(id, "go on", 80));
    await endedCall("vllm");
    // It would ring in a few seconds.
    while ((await callsTo("vllm")).length < 2) {
      await runDurableObjectAlarm(env.CHAT_SESSION.getByName(id));
      await scheduler.wait(5);
    }
    expect(await text).toBe(usual("go on", 80));
    expect(await callsTo("vllm")).toHaveLength(2);
  });
});
