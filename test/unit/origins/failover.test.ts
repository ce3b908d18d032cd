/** Where a request goes next when an origin, a real server, fails it; and when it goes nowhere else. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { parseOrigins } from "../../../src/edge/origins/config.ts";
import { Origin } from "../../../src/edge/origins/origin.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { upstreamServer, usualPieces } from "../../support/upstream-server.ts";
import { ManualClock } from "./manual-clock.ts";
import { callsTo, errorOf, QUESTION, server, TEXT, textOf, useServer, World } from "./origin-world.ts";

useServer();

describe("before the first token another origin is tried after", () => {
  test.each([
    ["status 429", { status: 429 }],
    ["status 502", { status: 502 }],
    ["status 503", { status: 503, headers: { "retry-after": "30" } }],
    ["status 504", { status: 504 }],
    ["a refused key", { status: 401 }],
    ["an unknown model", { status: 404 }],
    ["a redirect", { status: 302, headers: { location: "http://127.0.0.1:1/v1" } }],
    ["a stream that ends at once", { fault: { afterPieces: 0, kind: "end" as const } }],
    ["a stream that is cut at once", { fault: { afterPieces: 0, kind: "cut" as const } }],
    ["an error in the stream", { fault: { afterPieces: 0, kind: "error" as const } }],
    ["a page of HTML", { fault: { afterPieces: 0, kind: "garbage" as const } }],
  ])("%s", async (_name, reply) => {
    const world = new World();
    server.script("first", reply);
    const events = await world.answer();
    expect(textOf(events)).toBe(TEXT);
    expect(events.filter(({ type }) => type === "start")).toHaveLength(1);
    expect(callsTo("first", "second")).toEqual([1, 1]);
    expect(world.numInFlight).toEqual([0, 0]);
  });

  test("a server that is not there", async () => {
    const gone = await upstreamServer();
    await gone.close();
    const world = new World();
    const [first] = parseOrigins([{ name: "first", url: `${gone.url}/v1`, models: [{ id: "big" }] }]);
    world.origins[0] = new Origin(first!, systemClock);
    expect(textOf(await world.answer())).toBe(TEXT);
    expect(world.log).toMatchObject([{ origin: "first", cause: "The origin 'first' cannot be reached." }]);
  });

  test.each([
    ["no head", { isSilent: true }, { firstByteMs: 40 }, "did not answer within 40 ms"],
    [
      "no token",
      { fault: { afterPieces: 0, kind: "stall" as const } },
      { betweenBytesMs: 41 },
      "sent nothing within 41 ms",
    ],
  ])("%s in time", async (_name, reply, limits, said) => {
    const world = new World(systemClock, ["first", "second"], {}, limits);
    server.script("first", reply);
    expect(textOf(await world.answer())).toBe(TEXT);
    expect(world.log).toMatchObject([{ origin: "first", cause: `The origin 'first' ${said}.` }]);
    await expect.poll(() => server.calls("first")[0]!.state).toBe("closed");
  });

  test("and what the last one said is told where none is left", async () => {
    const world = new World();
    server.script("first", { status: 502 });
    server.script("second", { status: 503, body: '{"error":{"message":"loading"}}', headers: { "retry-after": "9" } });
    const error = await errorOf(world.answer());
    expect(error).toMatchObject({ status: 503, code: "model_unavailable", retryAfterS: 9 });
    expect(error.message).toBe("The origin 'second' is not available: loading");
  });
});

describe("no other origin is tried", () => {
  test("for a mistake of the client's", async () => {
    const world = new World();
    const message = `maximum context length is 10 tokens (see ${server.url}/docs)`;
    server.script("first", { status: 400, body: JSON.stringify({ error: { message, code: 400 } }) });
    const error = await errorOf(world.answer());
    expect(error).toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect(error.message).toBe("maximum context length is 10 tokens (see [hidden])");
    expect([callsTo("first", "second"), world.log]).toEqual([[1, 0], []]);
  });

  test("for a bug of the origin's", async () => {
    const world = new World();
    server.script("first", { status: 500, body: "<html>boom</html>" });
    expect(await errorOf(world.answer())).toMatchObject({ status: 502, code: "upstream_error" });
    expect(callsTo("first", "second")).toEqual([1, 0]);
  });

  test.each(["cut", "end", "garbage", "error"] as const)("once there was a token: %s", async (kind) => {
    const world = new World();
    server.script("first", { fault: { afterPieces: 5, kind }, pauseMs: 1 });
    const generation = world.generation();
    await generation.open();
    const read: GenerateEvent[] = [];
    const error = await errorOf(
      (async () => {
        for (;;) read.push(...(await generation.nextEvents()));
      })(),
    );
    expect(TEXT.startsWith(textOf(read))).toBe(true);
    expect(error).toMatchObject({ status: 502, code: "upstream_error" });
    expect(error.message).toMatch(/^The answer of origin 'first' broke off: /);
    expect([callsTo("first", "second"), world.numInFlight]).toEqual([
      [1, 0],
      [0, 0],
    ]);
    // The next one is fine.
    expect(textOf(await world.answer())).toBe(TEXT);
  });

  test("for a stall in the middle, which ends with the time limit and closes the connection", async () => {
    const clock = new ManualClock();
    const world = new World(clock);
    server.script("first", { fault: { afterPieces: 3, kind: "stall" } });
    const generation = world.generation();
    await generation.open();
    let text = "";
    while (text !== usualPieces(QUESTION, 3).join("")) text += textOf(await generation.nextEvents());
    const error = errorOf(generation.nextEvents());
    clock.advance(30_000);
    expect(await error).toMatchObject({ status: 504, code: "upstream_timeout" });
    await expect.poll(() => server.calls("first")[0]!.state).toBe("closed");
  });
});
