/**
 * What clients call models: a model's id, an alias that the operator gave it, either of them with Ollama's `:latest`;
 * and, where the operator names a fallback, anything else. Both are off unless configured: a wrong name is then a 404.
 */
import { ApiError } from "../protocol/errors.ts";
import { MODEL_NAME_CHARS_MAX } from "../protocol/limits.ts";
import { LATEST_TAG } from "../protocol/ollama/models.ts";
import type { EventStream, ModelService } from "./model-service.ts";

export interface ModelNamesOptions {
  /** Another name → the model's id. */
  aliases: ReadonlyMap<string, string>;
  /** The model that answers for names that nobody knows; null = none does. */
  fallback: string | null;
}

export class ModelNames {
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #fallback: string | null;

  constructor({ aliases, fallback }: ModelNamesOptions) {
    this.#aliases = aliases;
    this.#fallback = fallback;
  }

  /** Asks for the model that a name stands for. @param ask throws the `ApiError` of an unknown model where it is none */
  async run<T>(name: string, models: ModelService, ask: (id: string, isFallback: boolean) => Promise<T>): Promise<T> {
    const id = await this.#idOf(name, models);
    try {
      return await ask(id, false);
    } catch (cause) {
      const isUnknown = cause instanceof ApiError && cause.code === "model_not_found";
      if (this.#fallback === null || !isUnknown) throw cause;
      return ask(this.#fallback, true);
    }
  }

  async #idOf(name: string, models: ModelService): Promise<string> {
    const alias = this.#aliases.get(name);
    if (alias !== undefined) return alias;
    if (!name.endsWith(LATEST_TAG)) return name;
    // The list is at hand, while asking for a model that is not there looks for it everywhere.
    if ((await models.models()).some(({ id }) => id === name)) return name;
    const untagged = name.slice(0, -LATEST_TAG.length);
    return this.#aliases.get(untagged) ?? untagged;
  }
}

/** Ids only. */
export const PLAIN_NAMES = new ModelNames({ aliases: new Map(), fallback: null });

/** The same models, by all their names. */
export function namedModels(models: ModelService, names: ModelNames): ModelService {
  return {
    models: () => models.models(),
    ready: () => models.ready(),
    generate: (request, routingKey, signal) =>
      names.run(request.model, models, async (model, isFallback) => {
        const events = await models.generate({ ...request, model }, routingKey, signal);
        return isFallback ? withFallback(events, model) : events;
      }),
    embed: (request, routingKey, signal) =>
      names.run(request.model, models, (model) => models.embed({ ...request, model }, routingKey, signal)),
    tokenize: (request, signal) =>
      names.run(request.model, models, (model) => models.tokenize({ ...request, model }, signal)),
    detokenize: (request, signal) =>
      names.run(request.model, models, (model) => models.detokenize({ ...request, model }, signal)),
  };
}

function withFallback(events: EventStream, fallbackModel: string): EventStream {
  return {
    next: () => events.next(),
    ...(events.poll !== undefined && { poll: () => events.poll!() }),
    cancel: () => events.cancel(),
    fallbackModel: events.fallbackModel ?? fallbackModel,
    ...(events.tier !== undefined && { tier: events.tier }),
  };
}

const ALIASES_MAX = 256;

/**
 * @param aliases a JSON object of names to ids, as text or as wrangler made it of a table
 * @throws Error that says what is wrong with which variable
 */
export function parseModelNames(aliases: unknown, fallback: unknown): ModelNames {
  return new ModelNames({ aliases: parsedAliases(aliases), fallback: parsedFallback(fallback) });
}

function parsedAliases(variable: unknown): Map<string, string> {
  if (variable === undefined || variable === "") return new Map();
  const value = typeof variable === "string" ? parsedJson(variable) : variable;
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const entries = isObject ? Object.entries(value) : [];
  if (!isObject || entries.length > ALIASES_MAX || !entries.every(([name, id]) => isName(name) && isName(id))) {
    throw new Error(
      `The variable MODEL_ALIASES must be a JSON object of at most ${ALIASES_MAX} names and the ids they stand for, such as ` +
        '{"gpt-4o-mini": "runnel-demo"}.',
    );
  }
  return new Map(entries);
}

function parsedFallback(variable: unknown): string | null {
  if (variable === undefined || variable === "") return null;
  if (isName(variable)) return variable;
  throw new Error("The variable MODEL_FALLBACK must be the id of a model.");
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MODEL_NAME_CHARS_MAX;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
