/** Answers of origins that are real servers: what comes back, how they are left, and what is told of them. */
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { usualPieces } from "../../support/upstream-server.ts";
import { callsTo, errorOf, KEY, QUESTION, restOf, server, TEXT, textOf, useServer, World } from "./origin-world.ts";

useServer();

describe("an answer", () => {
  test("comes whole, from the affine origin, by our names and with its counts", async () => {
    const world = new World();
    const events = await world.answer();
    expect(events[0]).toEqual({ type: "start", model: "big", promptTokens: 0, cachedTokens: 0 });
    expect(textOf(events)).toBe(TEXT);
    expect(events.slice(-2)).toMatchObject([
      { type: "finish", reason: "length" },
      { type: "done", usage: { promptTokens: 10, completionTokens: 24, cachedTokens: 3 } },
    ]);
    expect(callsTo("first", "second")).toEqual([1, 0]);
    const [call] = server.calls("first");
    expect(call).toMatchObject({
      path: "/v1/chat/completions",
      headers: { authorization: `Bearer ${KEY}`, "x-request-id": "r1" },
      body: { model: "org/Big", stream: true },
    });
    expect(world.numInFlight).toEqual([0, 0]);
    expect(world.log).toEqual([]);
  });

  test("goes on from its first words where it is given them", async () => {
    const world = new World(systemClock, ["first"], { kind: "vllm" });
    const known = usualPieces(QUESTION).slice(0, 9).join("");
    const generation = world.generation(15, known);
    await generation.open();
    expect(known + textOf(await restOf(generation))).toBe(TEXT);
  });

  test("that goes on is no matter for an origin that cannot", async () => {
    const error = await errorOf(new World().generation(null, "Well").open());
    expect(error).toMatchObject({ status: 503, code: "model_unavailable" });
  });
});

describe("an abort", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });

  test("in the middle reaches the origin", async () => {
    server.script("first", { pauseMs: 5 });
    const generation = world.generation(1000);
    await generation.open();
    while (textOf(await generation.nextEvents()) === "");
    const waiting = generation.nextEvents();
    generation.abort();
    generation.abort();
    expect(await waiting).toEqual([]);
    expect(await generation.nextEvents()).toEqual([]);
    await expect.poll(() => server.calls("first")[0]!.state).toBe("closed");
    expect(server.calls("first")[0]!.numPieces).toBeLessThan(100);
    expect([world.numInFlight, world.log]).toEqual([[0, 0], []]);
  });

  test("before the head does, too, and tries no other", async () => {
    server.script("first", { isSilent: true });
    const generation = world.generation();
    const error = errorOf(generation.open());
    await expect.poll(() => server.calls("first").length).toBe(1);
    generation.abort();
    expect(await error).toMatchObject({ status: 499 });
    await expect.poll(() => server.calls("first")[0]!.state).toBe("closed");
    expect([callsTo("second"), world.numInFlight, world.log]).toEqual([[0], [0, 0], []]);
  });
});

test("a reader that takes nothing is not written to without end", async () => {
  const world = new World(systemClock, ["first"]);
  const generation = world.generation(200_000);
  await generation.open();
  await generation.nextEvents();
  let before = -1;
  // What the sockets' buffers take, and then nothing more.
  await expect
    .poll(
      () => {
        const isStill = server.calls("first")[0]!.numPieces === before;
        before = server.calls("first")[0]!.numPieces;
        return isStill;
      },
      { interval: 100 },
    )
    .toBe(true);
  generation.abort();
});

test("no key and no address is in any error or log record", async () => {
  const secrets = [KEY, server.url, String(server.port), "127.0.0.1"];
  const told: string[] = [];
  const leak = JSON.stringify({ error: { message: `bad key ${KEY} at ${server.url}/v1 (127.0.0.1)`, code: KEY } });
  const replies = [400, 401, 403, 404, 422, 429, 500, 502, 503, 504].map((status) => ({
    status,
    body: leak,
    headers: { "retry-after": "50" },
  }));
  for (const reply of [...replies, { fault: { afterPieces: 2, kind: "error" as const }, pauseMs: 2 }]) {
    const world = new World(systemClock, ["first"]);
    server.script("first", reply);
    const error = await errorOf(world.answer());
    told.push(JSON.stringify({ ...error, message: error.message }), JSON.stringify(world.log));
  }
  for (const text of told) for (const secret of secrets) expect(text).not.toContain(secret);
});
