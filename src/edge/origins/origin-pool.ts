/**
 * The origins of this isolate, as the variable ORIGINS names them. Parsed at first use and again when the variable is
 * another one; what was learned about them lives as long as the isolate.
 */
import { waitUntil } from "cloudflare:workers";
import { type Clock, systemClock } from "../../api/clock.ts";
import { consoleLog } from "../../api/log.ts";
import type { Env } from "../env.ts";
import { type OriginConfig, parseOrigins } from "./config.ts";
import { httpUpstream } from "./http-upstream.ts";
import { modelsOf, Origin, type OriginModel } from "./origin.ts";
import type { OriginHost } from "./origin-host.ts";
import type { Upstream } from "./upstream.ts";
import { workersAiUpstream } from "./workers-ai.ts";

export class OriginPool {
  readonly #clock: Clock;
  #variable: string | undefined;
  #models: readonly OriginModel[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws Error where the variable is wrong */
  models({ ORIGINS }: Pick<Env, "ORIGINS">): readonly OriginModel[] {
    // A list is another object for each entry point of the Worker.
    const variable = ORIGINS === undefined || typeof ORIGINS === "string" ? ORIGINS : JSON.stringify(ORIGINS);
    if (variable !== this.#variable) {
      this.#models = modelsOf(parseOrigins(variable).map((config) => new Origin(config, this.#clock)));
      this.#variable = variable;
    }
    return this.#models;
  }

  /** @returns null where no origin has it */
  find(env: Pick<Env, "ORIGINS">, id: string): OriginModel | null {
    return this.models(env).find((model) => model.id === id) ?? null;
  }
}

export const originPool = new OriginPool(systemClock);

/** For one request: the bindings, and what is opened with them, are its own. */
export function originHost(env: Env): OriginHost {
  return {
    upstreamOf: ({ config }) => upstreamOf(config, env),
    clock: systemClock,
    log: consoleLog,
    background: waitUntil,
  };
}

function upstreamOf(config: OriginConfig, env: Env): Upstream {
  if (config.kind !== "workers-ai") return httpUpstream(config, keyOf(config, env), (url, init) => fetch(url, init));
  if (env.AI !== undefined) return workersAiUpstream(env.AI);
  throw new Error(`The origin '${config.name}' is of kind 'workers-ai', but the Worker has no binding AI.`);
}

function keyOf({ name, key, keySecret }: OriginConfig, env: Env): string | null {
  if (keySecret === undefined) return key ?? null;
  const secret = (env as unknown as Record<string, unknown>)[keySecret];
  if (typeof secret === "string" && secret !== "") return secret;
  throw new Error(`The origin '${name}' takes its key from the secret ${keySecret}, which is not set.`);
}
