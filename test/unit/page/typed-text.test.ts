/** What the reader typed is never lost, whatever fails. */
import { describe, expect, test } from "vitest";
import { failure } from "../../../src/page/net/failure.ts";
import { client, page, reopen, send, settle, transcript, usePage, values } from "./scripted-page.ts";

usePage();

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
    reopen();
    page.controller.newChat();
    expect(page.current().draft).toBe("Precious");
  });

  test("a draft of a session comes back with it, and goes when it is sent", async () => {
    await send("Hi");
    client.turns[0]!.end();
    await settle();
    page.controller.edit("s1", "half a thought");
    reopen();
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
