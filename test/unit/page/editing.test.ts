/** Other words in the place of a message that was sent. */
import { describe, expect, test } from "vitest";
import { failure } from "../../../src/page/net/failure.ts";
import { client, page, send, settle, transcript, usePage } from "./scripted-page.ts";

usePage();

async function converse(...questions: string[]): Promise<void> {
  for (const question of questions) {
    await send(question);
    client.turns.at(-1)!.write(`On ${question}.`);
    client.turns.at(-1)!.end();
    await settle();
  }
}

async function edit(index: number, text: string): Promise<void> {
  void page.controller.editMessage(page.current().messages[index]!.key, text);
  await settle();
}

describe("an edit", () => {
  test("drops what came after the message and streams another answer", async () => {
    await converse("one", "two");
    await edit(0, "uno");
    expect(transcript()).toEqual(["user: uno", "assistant:  (pending)"]);
    client.turns.at(-1)!.write("On uno.");
    client.turns.at(-1)!.end();
    await settle();
    expect(transcript()).toEqual(["user: uno", "assistant: On uno."]);
    expect(page.current().messages[1]!.timing).toMatchObject({ numDeltas: 1 });
    await edit(0, "eins");
    expect(transcript()).toEqual(["user: eins", "assistant:  (pending)"]);
    expect(client.log.filter((entry) => /^(send|edit)/.test(entry))).toEqual([
      "send s1",
      "send s1",
      "edit s1 0",
      "edit s1 0",
    ]);
  });

  test("leaves what is in the box", async () => {
    await converse("one");
    page.controller.edit("s1", "half a thought");
    await edit(0, "uno");
    expect(page.current().draft).toBe("half a thought");
  });

  test("that is refused brings everything back, and its words into the box", async () => {
    await converse("one", "two");
    const before = transcript();
    client.broken = { name: "edit", reason: failure("refused", "The chat was changed elsewhere.") };
    await edit(0, "uno");
    expect(transcript()).toEqual(before);
    expect(page.current()).toMatchObject({ draft: "uno", phase: "idle", failure: { kind: "refused" } });
    client.broken = null;
    // To try again is to look at the chat: the words would go to its end otherwise.
    await page.controller.retry();
    expect(client.log.filter((entry) => entry.startsWith("send"))).toHaveLength(2);
    expect(page.current()).toMatchObject({ draft: "uno", failure: null });
  });

  test("whose stream breaks is taken up like any other", async () => {
    await converse("one");
    await edit(0, "uno");
    client.turns[1]!.write("On ");
    await settle();
    client.turns[1]!.cut();
    await settle();
    client.turns[1]!.write("uno.");
    client.turns[1]!.end();
    await page.wake();
    expect(transcript()).toEqual(["user: uno", "assistant: On uno."]);
  });

  test("is not made while an answer runs, nor of blanks, nor of a message that is gone", async () => {
    await converse("one");
    const { key } = page.current().messages[0]!;
    expect(page.controller.editMessage(key, " \n")).toBeNull();
    await send("two");
    expect(page.controller.editMessage(key, "uno")).toBeNull();
    client.turns.at(-1)!.end();
    await settle();
    expect(page.controller.editMessage(`${key}x`, "uno")).toBeNull();
    expect(client.log.some((entry) => entry.startsWith("edit"))).toBe(false);
  });
});
