/**
 * Every chat client against routes whose models are scripts: what cannot be brought about with a real model at will. A full
 * queue, a fault in the middle of a stream, a connection that breaks.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { overloaded, unauthorized } from "../../../src/protocol/errors.ts";
import { chatClients, statusOf } from "../../support/clients/chat-clients.ts";
import { answer, delta, fault, start } from "../protocol/events.ts";
import { type Host, MODEL, ORIGIN, scriptedHost } from "./scripted-host.ts";

let host: Host;
let numCalls: number;
beforeEach(() => {
  host = scriptedHost();
  numCalls = 0;
});

const fetchHost: typeof fetch = async (url, init) => {
  numCalls++;
  return host.app.fetch(new Request(url as string, init));
};

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (cause) => cause,
  );

const ASKED = { model: MODEL.id, prompt: "Hi" };
const nothing = () => {};

describe.each(chatClients(ORIGIN, fetchHost))("$name", (client) => {
  test("reads what was said, whole and streamed", async () => {
    host.models.script = answer("Hé", "", "llo 🦀");
    const told = { text: "Héllo 🦀", promptTokens: 7, completionTokens: 3, isCut: false };
    expect(await client.whole(ASKED)).toEqual(told);
    expect(await client.stream(ASKED, nothing)).toEqual(told);
  });

  test("tries a full queue again after the time that we name", async () => {
    const { generate } = host.models;
    host.models.generate = async (request, key) => {
      if (numCalls < 2) throw overloaded(9, 8);
      return generate.call(host.models, request, key);
    };
    const startedAtMs = performance.now();
    expect((await client.whole({ ...ASKED, maxRetries: 2 })).text).toBe("Hello you");
    expect(numCalls).toBe(2);
    expect(performance.now() - startedAtMs).toBeGreaterThan(950);
    expect(performance.now() - startedAtMs).toBeLessThan(4_000);
  });

  test("is told a full queue where it does not try again", async () => {
    host.models.script = overloaded(9, 8);
    for (const ask of [() => client.whole(ASKED), () => client.stream(ASKED, nothing)]) {
      const error = await caught(ask());
      expect(statusOf(error)).toBe(429);
      expect(String(error)).toContain("9 requests are waiting");
    }
    expect(numCalls).toBe(2);
  });

  test("is told a wrong key, and does not try again", async () => {
    host = scriptedHost({
      authorize: () => {
        throw unauthorized();
      },
    });
    expect(statusOf(await caught(client.whole({ ...ASKED, maxRetries: 2 })))).toBe(401);
    expect(numCalls).toBe(1);
  });

  test("is told a fault in the middle of a stream, behind what was said", async () => {
    for (const step of [fault(), new Error("engine lost")]) {
      host.models.script = [start(), delta("Hel"), step];
      const pieces: string[] = [];
      const error = await caught(client.stream(ASKED, (piece) => pieces.push(piece)));
      expect(pieces.join("")).toBe("Hel");
      expect(JSON.stringify(error) + String(error)).toMatch(/Internal error|internal_error/);
    }
  });

  test("stops the engine once when it goes away", async () => {
    const abort = new AbortController();
    host.models.script = [start(), ...Array.from({ length: 1000 }, () => delta("x "))];
    let numPieces = 0;
    const reading = client.stream({ ...ASKED, signal: abort.signal }, () => {
      if (++numPieces === 3) abort.abort();
    });
    await caught(reading);
    await expect.poll(() => host.models.streams[0]!.numCancel).toBe(1);
    expect(numPieces).toBeLessThan(1000);
  });
});
