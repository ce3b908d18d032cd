/**
 * Requests on their way through origins that are real servers: where they go, where they go next, and what comes back.
 * Time is the test's where something is waited for.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Clock, systemClock } from "../../../src/api/clock.ts";
import type { LogRecord } from "../../../src/api/log.ts";
import { chooseOrigin } from "../../../src/edge/origins/balancer.ts";
import { parseOrigins } from "../../../src/edge/origins/config.ts";
import { httpUpstream } from "../../../src/edge/origins/http-upstream.ts";
import { modelsOf, Origin } from "../../../src/edge/origins/origin.ts";
import { OriginGeneration } from "../../../src/edge/origins/origin-generation.ts";
import type { OriginHost } from "../../../src/edge/origins/origin-host.ts";
import { ApiError } from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { type UpstreamServer, upstreamServer, usualPieces } from "../../support/upstream-server.ts";
import { ManualClock } from "./manual-clock.ts";

const KEY = "sk-upstream-secret";
const QUESTION = "What is a river?";
const TEXT = usualPieces(QUESTION).join("");

let server: UpstreamServer;
beforeAll(async () => {
  server = await upstreamServer();
});
afterAll(() => server.close());

/** Two equal origins, asked in a known order, and what this isolate knows of them. */
class World {
  readonly log: LogRecord[] = [];
  readonly origins: Origin[];
  readonly clock: Clock;
  readonly #background: Promise<void>[] = [];

  constructor(clock: Clock = systemClock, names = ["first", "second"], more: object = {}, ofFirst: object = {}) {
    this.clock = clock;
    const configs = names.map((name, i) => ({
      name,
      url: `${server.url}/${name}/v1`,
      key: KEY,
      models: [{ id: "big", upstream: "org/Big" }],
      ...more,
      ...(i === 0 && ofFirst),
    }));
    this.origins = parseOrigins(configs).map((config) => new Origin(config, clock));
    for (const name of names) server.script(name);
    for (const name of names) server.calls(name).length = 0;
  }

  generation(maxTokens: number | null = null, answerSoFar: string | null = null): OriginGeneration {
    const body = { model: "big", messages: [{ role: "user", content: QUESTION }], max_tokens: maxTokens };
    const { generate: request } = decodeChatRequest(body, "r1");
    return new OriginGeneration(this.host, { model: modelsOf(this.origins)[0]!, request, affinityKey, answerSoFar });
  }

  async answer(): Promise<GenerateEvent[]> {
    const generation = this.generation();
    await generation.open();
    return restOf(generation);
  }

  get host(): OriginHost {
    return {
      upstreamOf: ({ config }) => httpUpstream(config, config.key ?? null, fetch),
      clock: this.clock,
      log: (record) => this.log.push(record),
      background: (work) => this.#background.push(work),
    };
  }

  async settled(): Promise<void> {
    await Promise.all(this.#background);
  }

  get numInFlight(): number[] {
    return this.origins.map(({ numInFlight }) => numInFlight);
  }
}

/** One for which "first" is the affine origin. */
const affinityKey = Array.from({ length: 50 }, (_, i) => `key:${i}`).find(
  (key) =>
    chooseOrigin(
      ["first", "second"].map((name) => ({ name, weight: 1, numInFlight: 0 })),
      key,
    ).name === "first",
)!;

async function restOf(generation: OriginGeneration): Promise<GenerateEvent[]> {
  const all: GenerateEvent[] = [];
  for (let events = await generation.nextEvents(); events.length > 0; events = await generation.nextEvents()) {
    all.push(...events);
  }
  return all;
}

const textOf = (events: readonly GenerateEvent[]) =>
  events.map((event) => (event.type === "delta" ? event.text : "")).join("");

async function errorOf(run: Promise<unknown>): Promise<ApiError> {
  const cause = await run.then(
    () => null,
    (error: unknown) => error,
  );
  expect(cause).toBeInstanceOf(ApiError);
  return cause as ApiError;
}

const callsTo = (...names: string[]) => names.map((name) => server.calls(name).length);

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
