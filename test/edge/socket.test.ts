/** Sockets of a session: what they are told, what they may ask, and that all of them are in step. */
import { beforeAll, describe, expect, test } from "vitest";
import { SESSION_SOCKETS_MAX } from "../../src/protocol/limits.ts";
import { edit, idOf, info, regenerate, resume, send, untilIdle } from "./sessions.ts";
import { connect, framesOf, upgrade } from "./sockets.ts";
import { addTinyModel, createSession, errorOf, post, request, STREAM } from "./stack.ts";

const MODEL = "socket-tiny";
const ASK = { max_tokens: 24, ...STREAM };

beforeAll(async () => {
  await addTinyModel(MODEL);
});

describe("opening", () => {
  test("tells the session, and nothing more where nothing runs", async () => {
    const { id } = await createSession(MODEL);
    await (await send(id, "before", 4)).text();
    const tab = await connect(id);
    await tab.until(() => tab.texts.length > 0);
    expect(tab.frames).toEqual([{ type: "session", session: await info(id) }]);
  });

  test("is a 404 for no session, a 426 without an upgrade, a 400 for no id of an event", async () => {
    const { id } = await createSession(MODEL);
    expect(await errorOf(await upgrade(`/v1/sessions/${"0".repeat(32)}/ws`))).toMatchObject({ code: "not_found" });
    const plain = await request(`/v1/sessions/${id}/ws`);
    expect(plain.headers.get("upgrade")).toBe("websocket");
    expect(await errorOf(plain)).toMatchObject({ status: 426, code: "upgrade_required" });
    const error = await errorOf(await upgrade(`/v1/sessions/${id}/ws?last_event_id=x`));
    expect(error).toMatchObject({ status: 400, param: "last_event_id" });
  });

  test("has a bound, and a socket that closes makes room", async () => {
    const { id } = await createSession(MODEL);
    const tabs = await Promise.all(Array.from({ length: SESSION_SOCKETS_MAX }, () => connect(id)));
    const error = await errorOf(await upgrade(`/v1/sessions/${id}/ws`));
    expect(error).toMatchObject({ status: 429, code: "too_many_sockets" });
    tabs[0]!.socket.close(1000);
    await tabs[0]!.until(() => tabs[0]!.closed !== null);
    expect((await upgrade(`/v1/sessions/${id}/ws`)).status).toBe(101);
  });

  test("from another site is what a POST from there is: the id opens it, a cookie adds nothing", async () => {
    const owner = "o".repeat(32);
    const { id } = await createSession(MODEL, owner);
    const foreign = { origin: "https://evil.example", "sec-fetch-site": "cross-site", cookie: `runnel_owner=${owner}` };
    const response = await upgrade(`/v1/sessions/${id}/ws`, foreign);
    expect(response.status).toBe(101);
    expect(response.headers.get("set-cookie")).toBeNull();
    // All that the cookie protects, the list, is not to be had there.
    expect(await (await request("/v1/sessions", { headers: foreign })).json()).toMatchObject({ data: [] });
    expect((await upgrade("/v1/sessions/ws", foreign)).status).toBe(404);
  });
});

describe("tabs", () => {
  test("see the same turns in the same order, whoever begins them and however", async () => {
    const { id } = await createSession(MODEL);
    const tabs = await Promise.all([connect(id), connect(id), connect(id)]);
    const posted = await (await send(id, "by POST", 24)).text();
    tabs[0]!.say({ type: "message", ref: "a", content: "by socket", ...ASK });
    await tabs[1]!.untilDone(2);
    const again = await (await regenerate(id, 24, { temperature: 1, seed: 3 })).text();
    const { messages } = await info(id);
    const edited = await (await edit(id, messages[0]!.id, "by PUT", 24)).text();
    tabs[2]!.say({ type: "regenerate", ref: "b", ...ASK });
    await Promise.all(tabs.map((tab) => tab.untilDone(5)));
    for (const tab of tabs) {
      expect(tab.shared).toEqual(tabs[0]!.shared);
      expect(tab.of("turn").map(({ message }) => message.content)).toEqual([
        "by POST",
        "by socket",
        "by socket",
        "by PUT",
        "by PUT",
      ]);
    }
    const events = tabs[1]!.texts.filter((text) => text.startsWith('{"type":"event"'));
    for (const sse of [posted, again, edited]) {
      const turn = idOf(sse).split("-")[0];
      expect(events.filter((text) => text.startsWith(`{"type":"event","id":"${turn}-`))).toEqual(framesOf(sse));
    }
    expect([tabs[0]!.of("turn")[1]!.ref, tabs[1]!.of("turn")[1]!.ref]).toEqual(["a", undefined]);
    expect(tabs[2]!.of("turn")[4]!.ref).toBe("b");
    expect((await untilIdle(id)).messages.map(({ content }) => content)).toEqual(["by PUT", tabs[0]!.answers.at(-1)]);
  });

  test("that open in mid-answer get it from the beginning, or from the event that they name", async () => {
    const { id } = await createSession(MODEL);
    const first = await connect(id);
    first.say({ type: "message", content: "long", ...ASK, max_tokens: 400 });
    await first.until(() => first.texts.length > 40);
    const [second, third] = await Promise.all([connect(id), connect(id, `last_event_id=${first.of("event")[20]!.id}`)]);
    await Promise.all([first, second, third].map((tab) => tab.untilDone()));
    expect(second.shared).toEqual(first.shared);
    expect(third.shared).toEqual([first.shared[0], ...first.shared.slice(22)]);
    // After the end, too, and as the stream says it.
    const fourth = await connect(id, `last_event_id=${first.of("event")[20]!.id}`);
    await fourth.untilDone();
    expect(fourth.shared).toEqual(third.shared);
    expect(fourth.shared.slice(1)).toEqual(framesOf(await (await resume(id, first.of("event")[20]!.id)).text()));
  });

  test("see a stop of any of them, or by POST, as the end", async () => {
    const { id } = await createSession(MODEL);
    const [asker, other] = await Promise.all([connect(id), connect(id)]);
    for (const [i, stop] of [
      async () => {
        other.say({ type: "stop", ref: "halt" });
        expect(await other.reply("halt")).toEqual({ type: "stopped", stopped: true, ref: "halt" });
      },
      async () => {
        expect(await (await post(`/v1/sessions/${id}/stop`, {})).json()).toEqual({ stopped: true });
      },
    ].entries()) {
      asker.say({ type: "message", content: "endless", ...ASK, max_tokens: 400 });
      await other.until(() => other.answers.length === i + 1 && other.answers[i]!.length > 5);
      await stop();
      await Promise.all([asker.untilDone(i + 1), other.untilDone(i + 1)]);
      expect(asker.shared).toEqual(other.shared);
      expect(other.shared.at(-3)).toContain('"finish_reason":"abort"');
      expect((await untilIdle(id)).messages.at(-1)!.content).toBe(other.answers[i]);
    }
    other.say({ type: "stop", ref: "nothing" });
    expect(await other.reply("nothing")).toEqual({ type: "stopped", stopped: false, ref: "nothing" });
  });

  test("are told when the session is deleted, after the end of its answer", async () => {
    const { id } = await createSession(MODEL);
    const tabs = await Promise.all([connect(id), connect(id)]);
    tabs[0]!.say({ type: "message", content: "delete me", ...ASK, max_tokens: 900 });
    await tabs[1]!.until(() => tabs[1]!.texts.length > 10);
    await request(`/v1/sessions/${id}`, { method: "DELETE" });
    for (const tab of tabs) {
      await tab.until(() => tab.closed !== null);
      expect(tab.closed).toEqual({ code: 4001, reason: "session deleted" });
      expect(tab.frames.at(-1)).toMatchObject({ data: "[DONE]" });
    }
    expect((await upgrade(`/v1/sessions/${id}/ws`)).status).toBe(404);
  });
});

describe("a request", () => {
  test("while an answer runs is refused under its own name, or waits; a stop gets through meanwhile", async () => {
    const { id } = await createSession(MODEL);
    const tab = await connect(id);
    tab.say({ type: "message", ref: "one", content: "first", ...ASK, max_tokens: 600 });
    await tab.reply("one");
    tab.say({ type: "message", ref: "two", content: "second", ...ASK });
    tab.say({ type: "message", ref: "three", content: "third", ...ASK, if_busy: "queue" });
    tab.say({ type: "stop", ref: "stop" });
    expect(await tab.reply("two")).toMatchObject({ type: "error", status: 409, error: { code: "session_busy" } });
    expect(await tab.reply("three")).toMatchObject({ type: "turn", message: { content: "third" } });
    await tab.untilDone(2);
    const order = tab.frames.flatMap((frame) => ("ref" in frame ? [frame.ref] : []));
    expect(order).toEqual(["one", "two", "stop", "three"]);
    expect((await untilIdle(id)).messages).toHaveLength(4);
  });

  test("edits a message, and is refused for one that is not there or not the user's", async () => {
    const { id } = await createSession(MODEL);
    const tab = await connect(id);
    tab.say({ type: "message", content: "first", ...ASK });
    await tab.untilDone();
    const [question, answer] = (await untilIdle(id)).messages;
    const change = (ref: string, messageId: unknown) =>
      tab.say({ type: "edit", ref, message_id: messageId, content: "changed", ...ASK });
    change("theirs", answer!.id);
    change("none", 77);
    change("bad", "x");
    change("mine", question!.id);
    expect(await tab.reply("theirs")).toMatchObject({ status: 400, error: { param: "message_id" } });
    expect(await tab.reply("none")).toMatchObject({ status: 404 });
    expect(await tab.reply("bad")).toMatchObject({ status: 400, error: { param: "message_id" } });
    expect(await tab.reply("mine")).toMatchObject({ type: "turn", message: { id: question!.id, content: "changed" } });
    await tab.untilDone(2);
    expect((await untilIdle(id)).messages).toMatchObject([{ content: "changed" }, { content: tab.answers[1] }]);
  });

  test("resumes from an id: what came after it, again; nothing where that was the last; an error for a turn that is gone", async () => {
    const { id } = await createSession(MODEL);
    const tab = await connect(id);
    tab.say({ type: "message", content: "once", ...ASK });
    await tab.untilDone();
    const events = tab.of("event");
    tab.say({ type: "resume", ref: "again", last_event_id: events[3]!.id });
    await tab.untilDone(2);
    expect(tab.of("event").slice(events.length)).toEqual(events.slice(4));
    tab.say({ type: "resume", ref: "over", last_event_id: events.at(-1)!.id });
    tab.say({ type: "resume", ref: "idle" });
    tab.say({ type: "resume", ref: "gone", last_event_id: "999-1" });
    tab.say({ type: "resume", ref: "odd", last_event_id: "no" });
    expect(await tab.reply("over")).toEqual({ type: "idle", ref: "over" });
    expect(await tab.reply("idle")).toEqual({ type: "idle", ref: "idle" });
    expect(await tab.reply("gone")).toMatchObject({ status: 410, error: { code: "stream_gone" } });
    expect(await tab.reply("odd")).toMatchObject({ status: 400, error: { param: "last_event_id" } });
  });

  test("that is nonsense gets an error and harms nothing", async () => {
    const { id } = await createSession(MODEL);
    const tab = await connect(id);
    await tab.until(() => tab.texts.length === 1);
    const nonsense: [unknown, object][] = [
      ["{", { status: 400 }],
      ["[]", { status: 400 }],
      ["null", { status: 400 }],
      [
        { type: "shout", ref: "r" },
        { status: 400, error: { param: "type" }, ref: "r" },
      ],
      [{ ref: "r" }, { status: 400, error: { param: "type" }, ref: "r" }],
      [
        { type: "message", ref: "r" },
        { status: 400, error: { param: "content" }, ref: "r" },
      ],
      [
        { type: "message", ref: "r".repeat(129), content: "x" },
        { status: 400, error: { param: "ref" } },
      ],
      [
        { type: "message", ref: "r", content: "x", tools: [{}] },
        { status: 400, error: { param: "tools" }, ref: "r" },
      ],
      [
        { type: "regenerate", ref: "r" },
        { status: 400, ref: "r" },
      ],
    ];
    for (const [i, [message, error]] of nonsense.entries()) {
      tab.say(message as object | string);
      await tab.until(() => tab.texts.length === i + 2);
      expect(tab.frames.at(-1)).toMatchObject({ type: "error", ...error });
    }
    tab.say({ type: "message", content: "sense", ...ASK });
    await tab.untilDone();
    expect((await untilIdle(id)).messages).toHaveLength(2);
  });

  test("that is too large, or no text, closes the socket", async () => {
    const { id } = await createSession(MODEL);
    const [large, binary] = await Promise.all([connect(id), connect(id)]);
    large.say({ type: "message", content: "ü".repeat(1_100_000) });
    binary.socket.send(new Uint8Array([1]));
    await large.until(() => large.closed !== null);
    expect(large.frames.at(-1)).toMatchObject({ type: "error", status: 413, error: { code: "body_too_large" } });
    expect(large.closed?.code).toBe(1009);
    await binary.until(() => binary.closed !== null);
    expect(binary.closed?.code).toBe(1003);
  });
});

test("a ping is answered", async () => {
  const { id } = await createSession(MODEL);
  const tab = await connect(id);
  tab.say('{"type":"ping"}');
  tab.say('{ "type": "ping" }');
  await tab.until(() => tab.of("pong").length === 2);
});
