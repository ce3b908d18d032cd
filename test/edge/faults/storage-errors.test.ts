/** Storage that fails: at every call of a turn in turn, once and for good. What it costs is time, or one clear error. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { ChatSession } from "../../../src/edge/chat-session.ts";
import { isolateEngine } from "../../../src/edge/isolate-engine.ts";
import { SessionKv } from "../../../src/edge/session-kv.ts";
import { GREEDY } from "../../support/sampling.ts";
import { addTinyModel, statsOf } from "../stack.ts";
import { expectAtRest, objectOf } from "./counters.ts";

vi.setConfig({ testTimeout: 120_000 });

const MODEL = "storage-errors-tiny";
const FULL = "database or disk is full: SQLITE_FULL";

beforeAll(async () => {
  await addTinyModel(MODEL);
  await isolateEngine.acquire(env, MODEL);
});

/** Counts the calls of an object's storage, and lets some of them fail. The runtime takes no stand-in for the state. */
function failing({ storage }: DurableObjectState, fails: (call: number) => boolean) {
  const counter = { numCalls: 0, isFailing: true };
  const guard = <T extends object>(target: T, name: keyof T & string) => {
    const call = target[name] as (...args: unknown[]) => unknown;
    const guarded = (...args: unknown[]) => {
      if (counter.isFailing && fails(++counter.numCalls)) throw new Error(FULL);
      return Reflect.apply(call, target, args);
    };
    Object.defineProperty(target, name, { value: guarded, configurable: true });
  };
  guard(storage.sql, "exec");
  guard(storage, "transactionSync");
  guard(storage, "setAlarm");
  guard(storage, "deleteAlarm");
  return counter;
}

const turnRequest = (content: string, numTokens: number) => ({
  question: { kind: "message" as const, content },
  request: {
    requestId: "fault",
    sampling: { ...GREEDY, seed: 1 },
    maxTokens: numTokens,
    stopStrings: [],
    stopTokenIds: [],
    ignoreEos: true,
    constraint: null,
    toolChoice: "none" as const,
    parallelToolCalls: true,
    minTokens: 0,
    allowedTokenIds: null,
    badWords: [],
    logprobs: null,
    cacheSalt: "",
    priority: 0,
  },
  frame: { id: "fault", createdS: 1, numChoices: 1, includeUsage: true },
  truncates: false,
  waitsForTurn: false,
});

/** Sends a message and reads the answer's events. @returns null where it was refused */
async function answered(session: ChatSession, id: string, content: string): Promise<string | null> {
  const result = await session.send(id, turnRequest(content, 40));
  if (!result.ok) return null;
  const hung = scheduler.wait(20_000).then(() => "The stream has no end.");
  return Promise.race([new Response(result.value.bytes).text(), hung]);
}

/** What the alarm calls may fail: it rings again. */
function expectOnlyFull(run: () => unknown): void {
  try {
    run();
  } catch (cause) {
    expect((cause as Error).message).toBe(FULL);
  }
}

const textOf = (events: string) => [...events.matchAll(/"text":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join("");

describe("a turn whose storage fails", () => {
  const init = { model: MODEL, system: null, title: null };
  const QUESTION = "What is left when the disk is full? ".repeat(3);

  /** One turn that works, one that fails from call `from` on for `num` calls, and one that works again. */
  const run = (name: string, from: number, num: number) =>
    runInDurableObject(objectOf(name), async (_, ctx) => {
      const counter = failing(ctx, (call) => call >= from && call < from + num);
      counter.isFailing = false;
      const session = new ChatSession(ctx, env);
      expect((await session.create(name, init, null)).ok).toBe(true);
      const first = await answered(session, name, QUESTION);
      await scheduler.wait(15);
      counter.isFailing = true;
      const second = await answered(session, name, QUESTION).catch((cause: Error) => `thrown: ${cause.message}`);
      await scheduler.wait(15);
      counter.isFailing = false;
      const { numCalls } = counter;
      // Somebody comes back, to the same object or to its next life, which the last one does not overlap.
      for (let i = 0; isolateEngine.numGenerations > 0 && i < 500; i++) await scheduler.wait(10);
      const next = from % 4 < 2 ? session : new ChatSession(ctx, env);
      for (let i = 0; i < 200; i++) {
        const info = await next.get(name);
        if (info.ok && !info.value.busy) break;
        await scheduler.wait(10);
      }
      const third = await answered(next, name, "Well?");
      const info = await next.get(name);
      expect((await next.delete(name)).ok).toBe(true);
      await scheduler.wait(20);
      const tables = ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '%cf_%'").toArray();
      return { first, second, third, info, numCalls, numTables: tables.length };
    });

  test("is answered or refused, the next one works, and nothing is left behind: at every call", async () => {
    const whole = await run("faults-none", 1_000_000, 0);
    expect(textOf(whole.second!)).not.toBe("");
    expect(whole.numCalls).toBeGreaterThan(25);
    let numAnswered = 0;
    for (let call = 1; call <= whole.numCalls; call++) {
      // Once, or from then on.
      const num = call % 2 === 0 ? 1 : 1_000_000;
      const { first, second, third, info, numTables } = await run(`faults-${call}-${num}`, call, num);
      const label = `calls ${call} to ${call + num - 1}`;
      expect(textOf(first!), label).toBe(textOf(whole.first!));
      expect(second ?? "", label).not.toContain("has no end");
      if (second !== null && textOf(second) === textOf(whole.second!)) numAnswered++;
      expect(third, label).not.toBeNull();
      expect(third, label).toContain('"type":"done"');
      if (!info.ok) throw new Error(`${label}: ${info.error.message}`);
      expect(info.value.busy, label).toBe(false);
      const roles = info.value.messages.map(({ role }) => role);
      expect(roles.join(), label).toMatch(/^user,assistant(,user,assistant){1,2}$/);
      expect(numTables, label).toBe(0);
    }
    // Reading and keeping blocks are most of the calls, and no answer needs them.
    expect(numAnswered).toBeGreaterThan(whole.numCalls / 2);
    await expectAtRest(MODEL);
  });
});

describe("kept blocks whose storage fails", () => {
  test("are no reason to throw: at every call of saving, restoring and expiring", async () => {
    const model = await isolateEngine.acquire(env, MODEL);
    const tokens = model.tokenizeChat([{ role: "user", content: "a b c d e f g h ".repeat(12) }]);
    for (let call = 1; call < 30; call++) {
      await runInDurableObject(objectOf(`faults-kv-${call}`), async (_, ctx) => {
        const counter = failing(ctx, (at) => at >= call && at % 3 === call % 3);
        const kept: Promise<unknown>[] = [];
        const watched = { storage: ctx.storage, waitUntil: (promise: Promise<unknown>) => kept.push(promise) };
        const kv = new SessionKv(
          watched as unknown as DurableObjectState,
          env,
          () => true,
          async () => {},
        );
        const { archive } = kv.beginTurn(model);
        for (let index = 0; index < 4; index++) {
          expect([...archive!.read([{ index, hash: "0", ids: Int32Array.of(1) }])]).toEqual([]);
        }
        kv.save(model, "salt", tokens);
        await Promise.all(kept);
        expectOnlyFull(() => kv.expire());
        expectOnlyFull(() => kv.dueAtMs);
        counter.isFailing = false;
      });
    }
    expect(statsOf(MODEL).numUnsaved).toBe(0);
  });
});
