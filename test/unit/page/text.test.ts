/** The small pure parts: addresses, sentences for the screen reader, the list's groups, what the browser remembers. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KeyValueStore, Preferences } from "../../../src/page/chat/preferences.ts";
import { formatHash, parseHash } from "../../../src/page/chat/router.ts";
import { SentenceBuffer } from "../../../src/page/chat/sentences.ts";
import { groupSessions } from "../../../src/page/chat/session-groups.ts";

describe("router", () => {
  test("every id survives the address", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1 }), (id) => {
        expect(parseHash(formatHash({ kind: "session", id }))).toEqual({ kind: "session", id });
      }),
    );
  });

  test.each(["", "#", "#/"])("%j is a new chat", (hash) => expect(parseHash(hash)).toEqual({ kind: "new" }));
  test("a broken escape is a new chat", () => expect(parseHash("#/c/%E0%A4%A")).toEqual({ kind: "new" }));
  test.each(["#prompt", "#/c/", "#/c/a/b"])("%j is not the router's", (hash) => expect(parseHash(hash)).toBeNull());
});

describe("sentences", () => {
  test("come out when they are finished, without Markdown marks", () => {
    const buffer = new SentenceBuffer();
    expect(buffer.push("A **KV ca")).toEqual([]);
    expect(buffer.push("che** keeps keys. It")).toEqual(["A KV cache keeps keys."]);
    expect(buffer.push(" has 3.5 GB!\n- `one")).toEqual(["It has 3.5 GB!"]);
    expect(buffer.push("`\n")).toEqual(["one"]);
    expect(buffer.push("(Really?) And")).toEqual(["(Really?)"]);
    expect(buffer.flush()).toEqual(["And"]);
    expect(buffer.flush()).toEqual([]);
  });

  test("say every word once, in order, however the answer is cut", () => {
    const word = fc.stringMatching(/^[a-z]{1,8}[.!?]?$/);
    fc.assert(
      fc.property(fc.array(word), fc.array(fc.nat()), (words, cuts) => {
        const text = words.join(" ");
        const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
        const buffer = new SentenceBuffer();
        const said = [...places, text.length].flatMap((place, i) => buffer.push(text.slice(places[i - 1] ?? 0, place)));
        said.push(...buffer.flush());
        expect(said.join(" ")).toBe(text);
      }),
    );
  });
});

describe("groups of sessions", () => {
  const noonMs = new Date(2026, 2, 29, 12).getTime();
  const at = (id: string, updatedAtMs: number) => ({ id, title: id, model: "m", updatedAtMs });

  test("by the calendar, newest first", () => {
    const sessions = [
      at("old", new Date(2025, 0, 1).getTime()),
      at("week", new Date(2026, 2, 22).getTime()),
      at("before-midnight", new Date(2026, 2, 28, 23, 59).getTime()),
      at("midnight", new Date(2026, 2, 29).getTime()),
      at("now", noonMs),
    ];
    expect(groupSessions(sessions, noonMs).map(({ label, sessions }) => [label, sessions.map(({ id }) => id)])).toEqual(
      [
        ["Today", ["now", "midnight"]],
        ["Yesterday", ["before-midnight"]],
        ["Last 7 days", ["week"]],
        ["Older", ["old"]],
      ],
    );
  });

  test("every session is in exactly one group, also one from a clock ahead of ours", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: noonMs * 2 })), (times) => {
        const grouped = groupSessions(
          times.map((timeMs, i) => at(String(i), timeMs)),
          noonMs,
        ).flatMap((g) => g.sessions);
        expect(grouped.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(times.map((_, i) => i));
      }),
    );
  });
});

describe("preferences", () => {
  test("remember the model and drafts, and forget empty drafts", () => {
    const values = new Map<string, string>();
    const storage: KeyValueStore = {
      getItem: (key) => values.get(key) ?? null,
      setItem: (key, value) => values.set(key, value),
      removeItem: (key) => values.delete(key),
    };
    const preferences = new Preferences(storage);
    preferences.saveModel("demo");
    preferences.saveDraft("s1", "half a thought");
    expect(new Preferences(storage).model).toBe("demo");
    expect(new Preferences(storage).draft("s1")).toBe("half a thought");
    preferences.saveDraft("s1", "");
    expect([...values.keys()]).toEqual(["runnel.model"]);
  });

  test("do without storage, and with storage that throws", () => {
    const refuse = () => {
      throw new Error("QuotaExceededError");
    };
    for (const storage of [null, { getItem: refuse, setItem: refuse, removeItem: refuse }]) {
      const preferences = new Preferences(storage);
      preferences.saveModel("demo");
      preferences.saveDraft("s1", "text");
      expect([preferences.model, preferences.draft("s1")]).toEqual([null, ""]);
    }
  });
});
