/** When an origin is left alone: because it asks for it, or because it fails again and again. Time is the test's. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { ManualClock } from "./manual-clock.ts";
import { callsTo, errorOf, server, TEXT, textOf, useServer, World } from "./origin-world.ts";

useServer();

describe("an origin that asks for a rest", () => {
  test("gets it, while others answer", async () => {
    const clock = new ManualClock();
    const world = new World(clock);
    server.script("first", { status: 429, headers: { "retry-after": "5" } });
    await world.answer();
    clock.advance(4_999);
    await world.answer();
    expect(callsTo("first", "second")).toEqual([1, 2]);
    clock.advance(1);
    await world.answer();
    expect(callsTo("first", "second")).toEqual([2, 2]);
    // To be busy is no fault.
    expect(world.log).toEqual([]);
  });

  test("is waited for where there is no other and it is short, once", async () => {
    const clock = new ManualClock();
    const world = new World(clock, ["first"]);
    server.script("first", { status: 429, headers: { "retry-after": "2" } });
    const answer = world.answer();
    await expect
      .poll(() => server.calls("first").length === 1 && world.origins[0]!.restUntilMs > clock.nowMs())
      .toBe(true);
    await new Promise(setImmediate);
    clock.advance(2_000);
    expect(textOf(await answer)).toBe(TEXT);
  });

  test("is not waited for where it is long: the client is told when", async () => {
    const world = new World(systemClock, ["first"]);
    server.script("first", { status: 429, headers: { "retry-after": "20" } });
    expect(await errorOf(world.answer())).toMatchObject({ status: 429, code: "server_overloaded", retryAfterS: 20 });
    const next = await errorOf(world.answer());
    expect(next).toMatchObject({ status: 503, code: "model_unavailable", retryAfterS: 20 });
    expect(callsTo("first")).toEqual([1]);
  });
});

describe("an origin that fails again and again", () => {
  test("is left alone, probed beside a request that another one takes, and used again", async () => {
    const clock = new ManualClock();
    const world = new World(clock);
    const bad = { status: 502 };
    server.script("first", bad, bad, bad);
    for (let i = 0; i < 5; i++) await world.answer();
    expect(callsTo("first", "second")).toEqual([3, 5]);
    clock.advance(2_000);
    await world.answer();
    await world.settled();
    expect(server.calls("first").slice(3)).toMatchObject([{ method: "GET", path: "/v1/models" }]);
    expect(server.calls("second")).toHaveLength(6);
    await world.answer();
    expect(server.calls("first")).toHaveLength(5);
    expect(world.origins[0]!.breaker.isClosed).toBe(true);
  });

  test("is probed before a request that no other one can take", async () => {
    const clock = new ManualClock();
    const world = new World(clock, ["first"]);
    const bad = { status: 502 };
    server.script("first", bad, bad, bad);
    for (let i = 0; i < 3; i++) await errorOf(world.answer());
    const refused = await errorOf(world.answer());
    expect(refused).toMatchObject({ status: 503, code: "model_unavailable", retryAfterS: 2 });
    expect(callsTo("first")).toEqual([3]);
    clock.advance(2_000);
    expect(textOf(await world.answer())).toBe(TEXT);
  });

  test("stays away for longer when its probe fails", async () => {
    const clock = new ManualClock();
    const world = new World(clock, ["first"]);
    const bad = { status: 502 };
    server.script("first", bad, bad, bad, bad);
    for (let i = 0; i < 3; i++) await errorOf(world.answer());
    clock.advance(2_000);
    expect(await errorOf(world.answer())).toMatchObject({ status: 503, retryAfterS: 4 });
  });
});
