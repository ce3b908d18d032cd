/** Streams that break, and pages that are opened in mid-answer. */
import { describe, expect, test } from "vitest";
import { failure } from "../../../src/page/net/failure.ts";
import { client, page, reopen, send, settle, transcript, usePage } from "./scripted-page.ts";

usePage();

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
    expect(client.log.filter((entry) => entry.startsWith("resume"))).toEqual(["resume s1 2-1", "resume s1 2-2"]);
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
    reopen();
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
