import { beforeEach, describe, expect, test } from "vitest";
import { ChatController } from "../../../src/page/chat/controller.ts";
import { type KeyValueStore, Preferences } from "../../../src/page/chat/preferences.ts";
import { TimingMemory } from "../../../src/page/chat/timing-memory.ts";
import { failure } from "../../../src/page/net/failure.ts";
import { currentConversation, initialState } from "../../../src/page/state/state.ts";
import { Store } from "../../../src/page/state/store.ts";
import { ScriptedClient } from "./scripted-client.ts";

let client: ScriptedClient;
let values: Map<string, string>;
let page: ReturnType<typeof openPage>;

/** Sleeps end when the test says so: nothing here waits for a clock. */
function openPage(schedule = (draw: () => void) => draw()) {
  const storage: KeyValueStore = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
  const preferences = new Preferences(storage);
  const store = new Store(initialState(preferences.model, true), schedule);
  const sleepers: (() => void)[] = [];
  let nowMs = 0;
  const controller = new ChatController({
    client,
    store,
    preferences,
    timings: new TimingMemory(storage),
    nowMs: () => (nowMs += 100),
    sleep: () => new Promise((resolve) => sleepers.push(resolve)),
  });
  const wake = () => {
    for (const resolve of sleepers.splice(0)) resolve();
    return settle();
  };
  return { store, controller, wake, current: () => currentConversation(store.state) };
}

/** Lets every promise that can go on go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** "user: Hi", "assistant: Hel… (pending)". */
function transcript(): string[] {
  return page
    .current()
    .messages.map(({ role, text, status }) => `${role}: ${text}${status === "done" ? "" : ` (${status})`}`);
}

async function send(text: string): Promise<void> {
  void page.controller.send(text);
  await settle();
}

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

beforeEach(async () => {
  client = new ScriptedClient();
  values = new Map();
  page = openPage();
  await page.controller.refresh();
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

describe("nothing typed is lost", () => {
  test("when the session cannot be made, the text is back in the box and can be sent again", async () => {
    client.breakDown("create");
    await send("Precious");
    expect(page.current()).toMatchObject({
      draft: "Precious",
      messages: [],
      phase: "idle",
      failure: { kind: "unreachable" },
    });
    client.broken = null;
    void page.controller.retry();
    await settle();
    expect(transcript()).toEqual(["user: Precious", "assistant:  (pending)"]);
    expect(page.current()).toMatchObject({ draft: "", failure: null });
  });

  test("what was typed meanwhile stays, after what came back", async () => {
    client.breakDown("send");
    void page.controller.send("First");
    page.controller.edit(page.current().key, "second thought");
    await settle();
    expect(page.current().draft).toBe("First\n\nsecond thought");
  });

  test("a reload before the server took the message brings it back", async () => {
    client.breakDown("create");
    await send("Precious");
    page = openPage();
    page.controller.newChat();
    expect(page.current().draft).toBe("Precious");
  });

  test("a draft of a session comes back with it, and goes when it is sent", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    page.controller.edit("s1", "half a thought");
    page = openPage();
    await page.controller.open("s1");
    expect(page.current().draft).toBe("half a thought");
    await send("half a thought");
    expect([...values.keys()].filter((key) => key.startsWith("runnel.draft."))).toEqual([]);
  });

  test("a suggestion leaves what is in the box", async () => {
    page.controller.edit(page.current().key, "half a thought");
    await send("What is a KV cache?");
    expect(page.current().draft).toBe("half a thought");
  });

  test("a full context: the server's words, and the question can go on in a new chat", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    client.broken = { name: "send s1", reason: failure("context", "512 tokens, but the prompt has 600.") };
    await send("Long");
    expect(page.current()).toMatchObject({
      draft: "Long",
      failure: { kind: "context", detail: "512 tokens, but the prompt has 600." },
    });
    void page.controller.sendInNewChat();
    await settle();
    expect(page.current().id).toBe("s2");
    expect(transcript()).toEqual(["user: Long", "assistant:  (pending)"]);
    expect(page.store.state.conversations.s1!.draft).toBe("");
  });

  test("busy through another tab: its answer is followed, the text waits", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    await client.sendMessage("s1", "From elsewhere", new AbortController().signal);
    await send("Mine");
    expect(page.current()).toMatchObject({ draft: "Mine", phase: "following", failure: { kind: "busy" } });
    expect(transcript().slice(2)).toEqual(["user: From elsewhere", "assistant:  (pending)"]);
    client.turns[1]!.end();
    await page.wake();
    expect(page.current()).toMatchObject({ draft: "Mine", phase: "idle", failure: null });
  });
});

describe("a lost stream is not a lost answer", () => {
  test("it is taken up where it broke, and what streamed does not shrink", async () => {
    await send("Hi");
    client.turns[0]!.write("Hello");
    await settle();
    const session = client.store.get("s1")!;
    session.messages[1]!.text = "Hel";
    client.turns[0]!.cut();
    await settle();
    expect(page.current().phase).toBe("following");
    expect(transcript()).toEqual(["user: Hi", "assistant: Hello (pending)"]);
    session.messages[1]!.text = "Hello";
    client.turns[0]!.write(" wor");
    await settle();
    client.turns[0]!.cut();
    client.turns[0]!.write("ld");
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hello wor (pending)"]);
    await page.wake();
    client.turns[0]!.end();
    await settle();
    expect(client.log.filter((entry) => entry.startsWith("resume"))).toEqual(["resume s1 1", "resume s1 2"]);
    expect(transcript()).toEqual(["user: Hi", "assistant: Hello world"]);
    expect(page.current().phase).toBe("idle");
  });

  test("a server that is down meanwhile is waited for", async () => {
    await send("Hi");
    client.turns[0]!.write("Hel");
    await settle();
    client.breakDown();
    client.turns[0]!.cut();
    await page.wake();
    await page.wake();
    expect(page.current()).toMatchObject({ phase: "following", failure: { kind: "unreachable" } });
    client.broken = null;
    client.turns[0]!.write("lo.");
    client.turns[0]!.end();
    await page.wake();
    expect(page.current()).toMatchObject({ phase: "idle", failure: null });
    expect(transcript()).toEqual(["user: Hi", "assistant: Hello."]);
  });

  test("a reload in mid-answer shows what there is and then the whole", async () => {
    await send("Hi");
    client.turns[0]!.write("Hel");
    page = openPage();
    void page.controller.open("s1");
    await settle();
    expect(page.current().phase).toBe("following");
    expect(transcript()).toEqual(["user: Hi", "assistant: Hel (pending)"]);
    void page.controller.stop();
    await settle();
    await page.wake();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hel (stopped)"]);
  });

  test("a message that the server never took goes back into the box", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    let release = () => {};
    client.sendMessage = (_id, _content, signal) =>
      new Promise((_, reject) => {
        release = () => reject(new Error("aborted"));
        signal.addEventListener("abort", release);
      });
    await send("Lost");
    expect(page.current().phase).toBe("sending");
    void page.controller.stop();
    await settle();
    await page.wake();
    expect(page.current()).toMatchObject({ draft: "Lost", phase: "idle", failure: null });
    expect(transcript()).toEqual(["user: Hi", "assistant: "]);
  });

  test("an error in mid-answer keeps the part, and the question can be asked again", async () => {
    await send("Hi");
    client.turns[0]!.write("Hel");
    await settle();
    client.turns[0]!.fail(failure("interrupted", "The engine was rebuilt."));
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hel (stopped)"]);
    expect(page.current().failure).toMatchObject({ kind: "interrupted", detail: "The engine was rebuilt." });
    void page.controller.retry();
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant:  (pending)"]);
    expect(client.log).toContain("regenerate s1");
    client.turns[1]!.write("Hello.");
    client.turns[1]!.end();
    await settle();
    expect(transcript()).toEqual(["user: Hi", "assistant: Hello."]);
  });
});

test("the numbers under an answer survive a reload", async () => {
  await send("Hi");
  client.turns[0]!.write("Hello.");
  client.turns[0]!.end();
  await settle();
  const { timing } = page.current().messages[1]!;
  page = openPage();
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
    page = openPage();
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
    page = openPage();
    await page.controller.refresh();
    await send("Hi");
    expect(client.log).toContain("create large");
    page.controller.pickModel("removed");
    page = openPage();
    await page.controller.refresh();
    await send("Hi");
    expect(client.log).toContain("create demo");
  });
});
