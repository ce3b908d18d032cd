/** What the page does when the reader acts: turns, stops, other chats, trying again. */
import { describe, expect, test } from "vitest";
import { currentConversation } from "../../../src/page/state/state.ts";
import { client, openPage, page, reopen, send, settle, transcript, usePage } from "./scripted-page.ts";

usePage();

test("another chat is on screen at once, before the next frame: what is typed next is for it", async () => {
  const slow = openPage(() => {});
  const drawn: string[] = [];
  slow.store.subscribe((state) => drawn.push(currentConversation(state).key));
  slow.controller.newChat();
  expect(drawn).toEqual([slow.current().key]);
  void slow.controller.open("a");
  expect(drawn.at(-1)).toBe("a");
  await slow.controller.delete("a");
  expect(drawn.at(-1)).toBe(slow.current().key);
});

describe("a turn", () => {
  test("creates the session with the chosen model, streams, and names the chat in the list", async () => {
    page.controller.pickModel("large");
    await send("Hi");
    expect(page.current()).toMatchObject({ id: "s1", model: "large", phase: "streaming", title: "Hi" });
    client.turns[0]!.write("Hel");
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hel (pending)"]);
    client.turns[0]!.write("lo.");
    client.turns[0]!.end();
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hello."]);
    expect(page.current().phase).toBe("idle");
    expect(page.store.state.sessions).toMatchObject([{ id: "s1", title: "Hi" }]);
    expect(page.current().messages[1]!.timing).toMatchObject({ numDeltas: 2, usage: { completionTokens: 5 } });
  });

  test("a second message goes to the same session, with another model picked meanwhile", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    page.controller.pickModel("large");
    await send("More");
    expect(client.log.filter((entry) => /create|send/.test(entry))).toEqual(["create demo", "send s1", "send s1"]);
  });

  test("nothing is sent while an answer runs, nor blanks", async () => {
    await send("  \n");
    await send("Hi");
    await send("Again");
    expect(client.turns).toHaveLength(1);
  });

  test("two chats answer at once, each in its own place", async () => {
    await send("First");
    page.controller.newChat();
    await send("Second");
    client.turns[0]!.write("one");
    client.turns[1]!.write("two");
    await settle();
    expect(transcript()).toEqual(["user: Second", "assistant: two (pending)"]);
    await page.controller.open("s1");
    expect(transcript()).toEqual(["user: First", "assistant: one (pending)"]);
    client.turns[0]!.end();
    await settle();
    expect(page.current().phase).toBe("idle");
    expect(page.store.state.conversations.s2!.phase).toBe("streaming");
  });
});

describe("stopping", () => {
  test("keeps what there is and marks it", async () => {
    await send("Hi");
    client.turns[0]!.write("Hel");
    await settle();
    void page.controller.stop();
    expect(page.current().isStopping).toBe(true);
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hel (stopped)"]);
    expect(page.current()).toMatchObject({ phase: "idle", isStopping: false });
  });

  test("lets go of a server that does not end the stream, and shows what it has", async () => {
    await send("Hi");
    client.turns[0]!.write("Hel");
    client.breakDown("stop");
    void page.controller.stop();
    await settle();
    expect(page.current().phase).toBe("streaming");
    await page.wake();
    expect(page.current().phase).toBe("following");
    client.turns[0]!.end("abort");
    await page.wake();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hel (stopped)"]);
  });

  test("does nothing where nothing runs", async () => {
    await page.controller.stop();
    expect(client.log).not.toContain("stop s1");
  });
});

test("the numbers under an answer survive a reload", async () => {
  await send("Hi");
  client.turns[0]!.write("Hello.");
  client.turns[0]!.end();
  await settle();
  const { timing } = page.current().messages[1]!;
  reopen();
  await page.controller.open("s1");
  expect(timing).not.toBeNull();
  expect(page.current().messages.map((message) => message.timing)).toEqual([null, timing]);
});

describe("trying again does what failed, and no more", () => {
  test("a list that could not be fetched is fetched; what is half typed is not sent", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    page.controller.edit("s1", "half a thought");
    client.breakDown("sessions");
    await page.controller.refresh();
    expect(page.store.state.failure).toMatchObject({ kind: "unreachable" });
    client.broken = null;
    await page.controller.retry();
    expect(page.store.state.failure).toBeNull();
    expect(page.current()).toMatchObject({ draft: "half a thought", failure: null });
    expect(client.turns).toHaveLength(1);
  });

  test("a chat that could not be fetched is fetched", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    reopen();
    client.breakDown("session s1");
    await page.controller.open("s1");
    expect(page.current()).toMatchObject({ failure: { kind: "unreachable" }, failedStep: "loading", messages: [] });
    client.broken = null;
    await page.controller.retry();
    expect(transcript()).toEqual(["user: Hi", "assistant: "]);
    expect(client.turns).toHaveLength(1);
  });

  test("a chat on screen stays as it is when a look for news fails", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    client.breakDown("session s1");
    await page.controller.reload("s1");
    expect(page.current()).toMatchObject({ failure: null, phase: "idle" });
  });
});

describe("sessions", () => {
  test("one that is gone says so", async () => {
    await page.controller.open("nowhere");
    expect(page.current()).toMatchObject({ id: "nowhere", phase: "idle", failure: { kind: "gone" } });
  });

  test("deleting the one on screen leaves an empty chat; one that is gone already is deleted too", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    client.store.delete("s1");
    await page.controller.delete("s1");
    expect(page.store.state.sessions).toEqual([]);
    expect(page.current()).toMatchObject({ id: null, messages: [] });
  });

  test("one that cannot be deleted stays", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    client.breakDown("delete");
    await page.controller.delete("s1");
    expect(page.current().id).toBe("s1");
    expect(page.store.state.failure).toMatchObject({ kind: "unreachable" });
  });

  test("a state that was asked for before a turn does not undo the turn", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    const reload = page.controller.reload("s1");
    await send("More");
    client.turns[1]!.end();
    await reload;
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: ", "user: More", "assistant: "]);
  });

  test("the model is remembered, and one that is served no longer is not", async () => {
    page.controller.pickModel("large");
    reopen();
    await page.controller.refresh();
    await send("Hi");
    expect(client.log).toContain("create large");
    page.controller.pickModel("removed");
    reopen();
    await page.controller.refresh();
    await send("Hi");
    expect(client.log).toContain("create demo");
  });
});
