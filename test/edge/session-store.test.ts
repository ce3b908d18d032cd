/** The store on the real SQLite of a Durable Object. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { ROW_BYTES_MAX, SessionStore, titleFrom } from "../../src/edge/session-store.ts";

const RECORD = { id: "s", owner: "o", model: "demo", title: null, createdAtMs: 100, updatedAtMs: 100 };
let numObjects = 0;

function withStore(run: (store: SessionStore, storage: DurableObjectStorage) => void | Promise<void>): Promise<void> {
  const stub = env.CHAT_SESSION.getByName(`store-test-${numObjects++}`);
  return runInDurableObject(stub, (_, ctx) => run(new SessionStore(ctx.storage), ctx.storage));
}

test("an id that was only asked for stores nothing", () =>
  withStore((store, storage) => {
    expect(store.exists()).toBe(false);
    expect(storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '%cf_%'").toArray()).toEqual([]);
  }));

test("a turn: question and pending answer together, then the answer with its ids", () =>
  withStore((store) => {
    store.create(RECORD, "Be brief.");
    const answerId = store.beginTurn("What is\n  prefill?", 200);
    expect(store.summary()).toMatchObject({ title: "What is prefill?", numMessages: 3, updatedAtMs: 200 });
    store.checkpoint(answerId, "Prefill is");
    expect(store.messages().at(-1)).toMatchObject({ content: "Prefill is", finishReason: "pending" });
    store.endTurn(answerId, "Prefill is the first pass.", "stop", { text: "…", tokens: [1, 70_000, 0] }, 300);
    expect(store.messages().map(({ role, finishReason }) => [role, finishReason])).toEqual([
      ["system", null],
      ["user", null],
      ["assistant", "stop"],
    ]);
    expect(store.transcript()).toEqual({ text: "…", tokens: [1, 70_000, 0] });
    expect(store.summary().updatedAtMs).toBe(300);
  }));

test("an answer that a fault cut keeps its text and is marked", () =>
  withStore((store) => {
    store.create(RECORD, null);
    const answerId = store.beginTurn("Hi", 200);
    store.checkpoint(answerId, "Hel");
    expect(store.pendingAnswerId()).toBe(answerId);
    store.markAborted(answerId, 300);
    expect(store.messages().at(-1)).toMatchObject({ content: "Hel", finishReason: "abort" });
    expect(store.pendingAnswerId()).toBeNull();
  }));

test("a history that is cut keeps the ids of what stays, and no id is given twice", () =>
  withStore((store) => {
    store.create(RECORD, null);
    const first = store.beginTurn("a", 1);
    store.endTurn(first, "A", "stop", { text: "aA", tokens: [1, 2] }, 2);
    const second = store.beginTurn("b", 3);
    store.endTurn(second, "B", "stop", { text: "aAbB", tokens: [1, 2, 3, 4] }, 4);
    expect(store.transcript(second)).toEqual({ text: "aA", tokens: [1, 2] });
    const third = store.beginTurn("c", 5, second - 1);
    expect(third).toBeGreaterThan(second);
    expect(store.messages().map(({ id, content }) => [id, content])).toEqual([
      [1, "a"],
      [first, "A"],
      [second - 1, "c"],
      [third, ""],
    ]);
    expect(store.transcript()).toEqual({ text: "aA", tokens: [1, 2] });
    store.endTurn(third, "C", "stop", { text: "aAcC", tokens: [1, 2, 5, 6] }, 6);
    expect(store.transcript()).toEqual({ text: "aAcC", tokens: [1, 2, 5, 6] });
    expect(store.transcript(third)).toEqual({ text: "aA", tokens: [1, 2] });
    // Tokenized anew from its beginning: no earlier mark holds.
    store.endTurn(store.beginTurn("d", 7), "D", "stop", { text: "aAcCdD", tokens: [9, 8] }, 8);
    expect(store.transcript(third)).toEqual({ text: "aAcCdD", tokens: [9, 8] });
  }));

test("a failed turn keeps the transcript of the one before; a later one replaces it", () =>
  withStore((store) => {
    store.create(RECORD, null);
    store.endTurn(store.beginTurn("a", 1), "A", "stop", { text: "first", tokens: [1] }, 2);
    store.endTurn(store.beginTurn("b", 3), "", "abort", null, 4);
    expect(store.transcript()!.text).toBe("first");
    store.endTurn(store.beginTurn("c", 5), "C", "stop", { text: "second", tokens: [1, 2] }, 6);
    expect(store.transcript()).toEqual({ text: "second", tokens: [1, 2] });
  }));

test("a transcript too long for a row is not kept", () =>
  withStore((store) => {
    store.create(RECORD, null);
    const transcript = { text: "x".repeat(ROW_BYTES_MAX / 2), tokens: [1] };
    store.endTurn(store.beginTurn("a", 1), "A", "stop", transcript, 2);
    expect(store.transcript()).toBeNull();
  }));

test("deleteAll leaves an object as if it had never been", () =>
  withStore(async (store, storage) => {
    store.create(RECORD, "sys");
    await storage.deleteAll();
    expect(store.exists()).toBe(false);
  }));

test.each([
  ["  Hello\n there ", "Hello there"],
  ["   ", "New chat"],
  [`${"word ".repeat(30)}`, `${"word ".repeat(11).trim()}…`],
  ["x".repeat(100), `${"x".repeat(59)}…`],
  ["🙂".repeat(100), `${"🙂".repeat(59)}…`],
])("the title of %j is %j", (content, title) => {
  expect(titleFrom(content)).toBe(title);
});
