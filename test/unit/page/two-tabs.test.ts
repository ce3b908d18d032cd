/** Two pages of one session, in step through what the server tells of it. */
import { beforeEach, describe, expect, test } from "vitest";
import { client, openPage, page, send, settle, transcript, usePage } from "./scripted-page.ts";

usePage();

let other: ReturnType<typeof openPage>;

beforeEach(async () => {
  client.isLive = true;
  await send("Hi");
  client.turns[0]!.write("Hello.");
  client.turns[0]!.end();
  await settle();
  other = openPage();
  await other.controller.open("s1");
});

const same = () => expect(transcript(other)).toEqual(transcript(page));

describe("a turn in one tab", () => {
  test("streams in the other one, question and all", async () => {
    await send("More");
    expect(transcript(other)).toEqual(["user: Hi", "assistant: Hello.", "user: More", "assistant:  (pending)"]);
    expect(other.current().phase).toBe("following");
    client.turns[1]!.write("Yes");
    await settle();
    expect(transcript(other).at(-1)).toBe("assistant: Yes (pending)");
    same();
    client.turns[1]!.write(", more.");
    client.turns[1]!.end();
    await settle();
    expect(transcript(other).at(-1)).toBe("assistant: Yes, more.");
    same();
    expect(other.current().phase).toBe("idle");
    // The stream of the watch was enough.
    expect(client.log.some((entry) => entry.startsWith("resume"))).toBe(false);
  });

  test("that edits takes the messages away in the other one, too", async () => {
    void page.controller.editMessage(page.current().messages[0]!.key, "Hey");
    await settle();
    expect(transcript(other)).toEqual(["user: Hey", "assistant:  (pending)"]);
    client.turns[1]!.write("Hey!");
    client.turns[1]!.end();
    await settle();
    expect(transcript(other)).toEqual(["user: Hey", "assistant: Hey!"]);
    same();
  });

  test("is stopped from the other one", async () => {
    await send("More");
    client.turns[1]!.write("Yes");
    await settle();
    void other.controller.stop();
    await settle();
    expect(transcript(other).at(-1)).toBe("assistant: Yes (stopped)");
    same();
  });

  test("is shown once where it began, however late its news comes", async () => {
    client.isLive = false;
    await send("More");
    client.turns[1]!.write("Yes.");
    client.turns[1]!.end();
    await settle();
    const before = transcript();
    const asked = client.log.length;
    const late = { turn: client.turns[1]!.number, answer: client.turns[1]!.stream(0) };
    for (const { watcher } of client.watches) watcher.turn(late);
    await settle();
    expect(transcript()).toEqual(before);
    same();
    // Only the tab that had not seen it asked.
    expect(client.log.slice(asked).filter((entry) => entry === "session s1")).toHaveLength(1);
  });
});

test("a turn that begins elsewhere while an answer is read here is shown after it", async () => {
  client.isLive = false;
  await send("Mine");
  client.turns[1]!.write("For you.");
  client.turns[1]!.end();
  client.isLive = true;
  // Begun before the page has read the end of its own.
  await client.sendMessage("s1", "Theirs", new AbortController().signal);
  await settle();
  client.turns[2]!.write("For them.");
  client.turns[2]!.end();
  await settle();
  await page.wake();
  expect(transcript().slice(2)).toEqual(["user: Mine", "assistant: For you.", "user: Theirs", "assistant: For them."]);
});

test("a watch that breaks in mid-answer costs nothing: the stream is taken up, and the watch begun again", async () => {
  await send("More");
  client.turns[1]!.write("Yes");
  await settle();
  const [watch] = client.watches.slice(-1);
  client.turns[1]!.cut();
  watch!.watcher.closed(false);
  await settle();
  client.turns[1]!.write(", more.");
  client.turns[1]!.end();
  await settle();
  await other.wake();
  await other.wake();
  expect(transcript(other).at(-1)).toBe("assistant: Yes, more.");
  expect(client.watches.at(-1)).not.toBe(watch);
  expect(other.current().phase).toBe("idle");
});

test("what happened while nobody watched shows when the watch opens again", async () => {
  client.isLive = false;
  await send("More");
  client.turns[1]!.write("Yes.");
  client.turns[1]!.end();
  await settle();
  expect(transcript(other)).toHaveLength(2);
  client.isLive = true;
  client.watches.at(-1)!.watcher.closed(false);
  await other.wake();
  same();
});

test("a session that is deleted elsewhere says so, and is watched no more", async () => {
  client.store.delete("s1");
  const [{ watcher }] = client.watches.slice(-1) as [(typeof client.watches)[number]];
  watcher.closed(true);
  await settle();
  expect(other.current().failure).toMatchObject({ kind: "gone" });
  await other.wake();
  expect(client.log.filter((entry) => entry === "watch s1")).toHaveLength(2);
});

test("only the chat on screen is watched, and one that cannot be watched is tried a few times", async () => {
  expect(client.watches.map(({ id }) => id)).toEqual(["s1", "s1"]);
  page.controller.newChat();
  expect(client.watches).toHaveLength(1);
  other.controller.newChat();
  expect(client.watches).toEqual([]);
  client.isLive = false;
  const before = client.log.length;
  await page.controller.open("s1");
  for (let i = 0; i < 10; i++) {
    client.watches.at(-1)?.watcher.closed(false);
    await page.wake();
  }
  expect(client.log.slice(before).filter((entry) => entry === "watch s1")).toHaveLength(6);
});
