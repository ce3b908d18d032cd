/** Two equal origins behind one real server, and a request on its way through them. */
import { afterAll, beforeAll, expect } from "vitest";
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

export const KEY = "sk-upstream-secret";
export const QUESTION = "What is a river?";
export const TEXT = usualPieces(QUESTION).join("");

export let server: UpstreamServer;

/** For each file of tests, at its top. */
export function useServer(): void {
  beforeAll(async () => {
    server = await upstreamServer();
  });
  afterAll(() => server.close());
}

/** Two equal origins, asked in a known order, and what this isolate knows of them. */
export class World {
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

export async function restOf(generation: OriginGeneration): Promise<GenerateEvent[]> {
  const all: GenerateEvent[] = [];
  for (let events = await generation.nextEvents(); events.length > 0; events = await generation.nextEvents()) {
    all.push(...events);
  }
  return all;
}

export const textOf = (events: readonly GenerateEvent[]) =>
  events.map((event) => (event.type === "delta" ? event.text : "")).join("");

export async function errorOf(run: Promise<unknown>): Promise<ApiError> {
  const cause = await run.then(
    () => null,
    (error: unknown) => error,
  );
  expect(cause).toBeInstanceOf(ApiError);
  return cause as ApiError;
}

export const callsTo = (...names: string[]) => names.map((name) => server.calls(name).length);
