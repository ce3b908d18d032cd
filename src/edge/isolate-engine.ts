/**
 * The models of this isolate, for every object that lives in it: weights once, one KV pool for each model.
 *
 * Module scope is shared by the Worker and all its Durable Objects, so what is kept here must belong to nobody: linear
 * memory, tokenizer tables, plain data. Streams, stubs and promises of I/O never stay. That is why nobody awaits
 * somebody else's loading: one loads under a lock that it must keep beating, the others poll (see load-lock.ts).
 *
 * Invariants:
 *  - the plans of all resident models together fit the budget;
 *  - a model with running or waiting generations is never dropped to make room;
 *  - an engine that crashed is rebuilt by whoever needs it next, under the same lock, with the same limits.
 */
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import { ApiError, unavailable } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { Backend } from "../serving/backend.ts";
import type { TextEmbedding } from "../serving/embedding.ts";
import type { TextGeneration } from "../serving/generation.ts";
import type { EngineStats, GenerateOptions } from "../serving/language-model.ts";
import type { ServedModel } from "../serving/served-model.ts";
import { budgetFrom, JS_RESERVE_BYTES } from "./budget.ts";
import type { CpuBudget } from "./cpu-budget.ts";
import { kvPrecisionFrom, speculationFrom } from "./engine-settings.ts";
import type { Env } from "./env.ts";
import { boundEvents } from "./event-memory.ts";
import { kvFingerprint } from "./kv-snapshot.ts";
import { LoadLock, LoadSuperseded, type LoadTicket } from "./load-lock.ts";
import type { EngineOccupancy } from "./metrics/hub-state.ts";
import { LoadedModel } from "./model-loader.ts";
import { modelStore, type StoredModel } from "./model-store.ts";
import { OrphanWatch } from "./orphans.ts";
import { EVENTS_PER_CHUNK_MAX } from "./turn.ts";

/** How often a waiting request looks again. Loading the demo takes a few hundred milliseconds. */
const POLL_MS = 10;
/** After this a waiting request is told to come back: longer than the largest model that fits takes to load. */
const WAIT_MAX_MS = 60_000;
/** A file that was refused is not read again for this long, unless it changes. */
const FAILURE_KEPT_MS = 30_000;
const BUSY_RETRY_S = 2;

interface Resident {
  stored: StoredModel;
  loaded: LoadedModel;
  lastUsedAtMs: number;
}

/** What /ready tells about a model. */
export interface EngineReport {
  model: string;
  engine: string;
  contextLength: number;
  loadMs: number;
  memory: { budgetBytes: number; plannedBytes: number } & Backend["memory"];
  stats: EngineStats;
}

export class IsolateEngine {
  readonly #residents = new Map<string, Resident>();
  readonly #failures = new Map<string, { error: ApiError; untilMs: number }>();
  readonly #lock = new LoadLock(() => Date.now());
  readonly #orphans = new OrphanWatch<TextGeneration>(() => Date.now());
  readonly #embeddings = new OrphanWatch<TextEmbedding>(() => Date.now());

  /**
   * The model, loaded. Use it before the next await: it may be dropped whenever nothing runs on it.
   * @throws ApiError unknown model (404), unusable file (422), no room or no progress in loading (503)
   */
  async acquire(env: Env, modelId: string): Promise<ServedModel> {
    this.#orphans.sweep();
    const stored = await modelStore.find(env, modelId);
    const deadlineMs = Date.now() + WAIT_MAX_MS;
    for (;;) {
      const resident = this.#residents.get(stored.key);
      if (resident?.loaded.model.isAlive) {
        resident.lastUsedAtMs = Date.now();
        return resident.loaded.model;
      }
      this.#throwRecentFailure(stored);
      await this.#tryToLoad(env, stored, deadlineMs);
    }
  }

  /**
   * Admits a request. All of them in one line: an isolate's clients are strangers, and none may say that it goes first.
   * @param owner the object that will drive it, so that nothing is left of it when the object is reset
   * @throws ApiError for whatever the model refuses
   */
  generate(owner: string, model: ServedModel, request: GenerateRequest, options?: GenerateOptions): TextGeneration {
    const generation = model.generate({ ...request, priority: 0 }, options);
    this.#orphans.add(generation, owner);
    return generation;
  }

  /** For the constructor of an object: what a former life of it was driving is over. */
  ownerRestarted(owner: string): void {
    this.#orphans.ownerRestarted(owner);
    this.#embeddings.ownerRestarted(owner);
  }

  /**
   * Drives a generation: its events that are ready, or those of the next steps; empty after the last one, or when
   * the budget is spent and none is ready. A step moves every running sequence of the model, and after each one everybody
   * else gets a turn, so that concurrent readers share steps, a long prompt holds nobody up and a cancellation is seen
   * within a token.
   */
  async nextEvents(
    env: Env,
    model: ServedModel,
    generation: TextGeneration,
    budget: CpuBudget,
  ): Promise<GenerateEvent[]> {
    const deadlineMs = Date.now() + WAIT_MAX_MS;
    for (;;) {
      this.#orphans.driven(generation);
      this.#orphans.sweep();
      const events = someEvents(generation);
      if (generation.isDrained) this.#orphans.ended(generation);
      if (events.length > 0 || generation.hasEnded || budget.isSpent) return events;
      if (!model.isAlive) await this.#revive(env, model, deadlineMs);
      else if (!this.#step(model, generation, budget)) {
        throw new Error(`Request ${generation.requestId} is open, but no sequence can run.`);
      }
      await scheduler.wait(0);
    }
  }

  /**
   * Vectors of prompts, computed beside whatever else runs.
   * @throws ApiError whatever the model refuses; 503 where the CPU time of the invocation does not suffice
   */
  async embed(
    env: Env,
    owner: string,
    model: ServedModel,
    request: EmbedRequest,
    budget: CpuBudget,
  ): Promise<Embeddings> {
    const embedding = model.embed(request);
    this.#embeddings.add(embedding, owner);
    const deadlineMs = Date.now() + WAIT_MAX_MS;
    try {
      while (!embedding.hasEnded) {
        this.#embeddings.driven(embedding);
        this.#embeddings.sweep();
        if (!model.isAlive) await this.#revive(env, model, deadlineMs);
        else if (!this.#step(model, embedding, budget)) {
          throw new Error(`Request ${embedding.requestId} is open, but no sequence can run.`);
        }
        if (budget.isSpent && !embedding.hasEnded) {
          throw unavailable("These inputs take more CPU time than one request has. Send fewer at once.", BUSY_RETRY_S);
        }
        await scheduler.wait(0);
      }
      return embedding.result();
    } finally {
      embedding.abort();
      this.#embeddings.ended(embedding);
    }
  }

  #step(model: ServedModel, generation: Pick<TextGeneration, "step">, budget: CpuBudget): boolean {
    const before = model.stats;
    // A CPU engine answers at once.
    const isMoved = generation.step() === true;
    boundEvents(this.#orphans.watched);
    const loaded = this.#residentOf(model)?.loaded;
    const after = model.stats;
    budget.spend({
      numTokens: after.numStepTokens - before.numStepTokens,
      weightsBytes: loaded?.memory.weightsBytes ?? 0,
      restoredBytes: (after.numRestoredTokens - before.numRestoredTokens) * (loaded?.kvTokenBytes ?? 0),
      isNearlyOver: loaded?.takeCpuSignal() ?? false,
    });
    return isMoved;
  }

  /** Answers that somebody drives, or that nobody has missed yet. */
  get numGenerations(): number {
    return this.#orphans.numLive;
  }

  /** What the models of this isolate hold. */
  occupancy(): EngineOccupancy[] {
    return [...this.#residents.values()].map(({ stored, loaded }) => {
      const { numRunning, numWaiting, numBlocks, numFreeBlocks } = loaded.model.stats;
      return { model: stored.info.id, numRunning, numWaiting, numBlocks, numFreeBlocks };
    });
  }

  /** Bytes of events that answers hold, until they are read or their owner is done with them. */
  get heldEventBytes(): number {
    return [...this.#orphans.watched].reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  }

  /** null where it is not loaded in this isolate. */
  contextLengthOf(key: string): number | null {
    return this.#residents.get(key)?.loaded.model.contextLength ?? null;
  }

  /** What the KV blocks of this model depend on besides their tokens; null where it was dropped meanwhile. */
  kvFingerprint(model: ServedModel): string | null {
    const resident = this.#residentOf(model);
    return resident === undefined
      ? null
      : kvFingerprint({ modelKey: resident.stored.key, ...resident.loaded.kvLayout });
  }

  /** Of a model that was just acquired. */
  report(env: Env, modelId: string): EngineReport {
    const { engineName, model, loadMs, plannedBytes, memory } = this.#loaded(modelId);
    return {
      model: modelId,
      engine: engineName,
      contextLength: model.contextLength,
      loadMs,
      memory: { budgetBytes: budgetFrom(env.MEMORY_BUDGET_BYTES), plannedBytes, ...memory },
      stats: model.stats,
    };
  }

  /** The model's next step traps, as a bug in the engine would. For fault tests. */
  crashForTest(modelId: string): void {
    this.#loaded(modelId).crashForTest();
  }

  #residentOf(model: ServedModel): Resident | undefined {
    return [...this.#residents.values()].find(({ loaded }) => loaded.model === model);
  }

  #loaded(modelId: string): LoadedModel {
    const resident = [...this.#residents.values()].findLast(({ stored }) => stored.info.id === modelId);
    if (resident !== undefined) return resident.loaded;
    throw unavailable(`The model '${modelId}' is not loaded here. Retry.`, BUSY_RETRY_S);
  }

  /** Loads or rebuilds where nobody else does, else waits a little. The caller looks again afterwards. */
  async #tryToLoad(env: Env, stored: StoredModel, deadlineMs: number): Promise<void> {
    const ticket = this.#lock.tryTake();
    if (ticket === null) {
      if (Date.now() < deadlineMs) return scheduler.wait(POLL_MS);
      throw unavailable(`The model '${stored.info.id}' is still being loaded. Retry in a moment.`, BUSY_RETRY_S);
    }
    try {
      const crashed = this.#residents.get(stored.key);
      if (crashed === undefined) await this.#load(ticket, env, stored);
      else if (!crashed.loaded.model.isAlive) await this.#rebuild(ticket, env, crashed);
    } catch (cause) {
      // Whoever took over answers for this model now; wait for it like everybody else.
      if (!(cause instanceof LoadSuperseded)) throw cause;
    } finally {
      ticket.release();
    }
  }

  async #load(ticket: LoadTicket, env: Env, stored: StoredModel): Promise<void> {
    const budgetBytes = budgetFrom(env.MEMORY_BUDGET_BYTES);
    try {
      const loaded = await LoadedModel.load({
        id: stored.info.id,
        source: stored.open(env),
        budgetBytes,
        kvPrecision: kvPrecisionFrom(env.KV_PRECISION),
        speculation: speculationFrom(env.SPECULATION),
        makeRoom: (plan) => this.#makeRoom(stored.info.id, budgetBytes, plan),
        onProgress: () => ticket.beat(),
      });
      this.#dropOtherVersions(stored);
      this.#residents.set(stored.key, { stored, loaded, lastUsedAtMs: Date.now() });
    } catch (cause) {
      if (cause instanceof ApiError && cause.status === 422) {
        this.#failures.set(stored.key, { error: cause, untilMs: Date.now() + FAILURE_KEPT_MS });
      }
      throw cause;
    }
  }

  async #rebuild(ticket: LoadTicket, env: Env, { stored, loaded }: Resident): Promise<void> {
    try {
      await loaded.rebuild(stored.open(env), () => ticket.beat());
    } catch (cause) {
      if (cause instanceof LoadSuperseded) throw cause;
      // What waited for this engine fails with the reason; the next request starts from scratch.
      this.#residents.delete(stored.key);
      loaded.model.shutdown(cause instanceof Error ? cause : new Error(String(cause)));
      throw cause;
    }
  }

  async #revive(env: Env, model: ServedModel, deadlineMs: number): Promise<void> {
    const resident = this.#residentOf(model);
    if (resident === undefined) throw new Error(`The model ${model.id} is gone and one of its generations is not.`);
    await this.#tryToLoad(env, resident.stored, deadlineMs);
  }

  /**
   * Drops idle models, the least recently used first, until `plan` succeeds with the bytes that are left.
   * @param plan null = too few
   */
  #makeRoom<Plan>(modelId: string, budgetBytes: number, plan: (freeBytes: number) => Plan | null): Plan {
    for (;;) {
      const residents = [...this.#residents.values()];
      const heldBytes = residents.reduce((sum, { loaded }) => sum + loaded.plannedBytes, 0);
      const found = plan(budgetBytes - JS_RESERVE_BYTES - heldBytes);
      if (found !== null) return found;
      const idle = residents.filter(isIdle).sort((a, b) => a.lastUsedAtMs - b.lastUsedAtMs)[0];
      if (idle === undefined) {
        const busy = residents.map(({ stored }) => stored.info.id).join(", ");
        throw unavailable(
          `The model '${modelId}' does not fit in memory beside ${busy}, which is answering right now. Retry.`,
          BUSY_RETRY_S,
        );
      }
      this.#drop(idle);
    }
  }

  /** A file that was replaced under its name: the old one goes when nothing runs on it, at the latest to make room. */
  #dropOtherVersions(stored: StoredModel): void {
    for (const resident of this.#residents.values()) {
      if (resident.stored.info.id === stored.info.id && isIdle(resident)) this.#drop(resident);
    }
  }

  #drop(resident: Resident): void {
    this.#residents.delete(resident.stored.key);
    resident.loaded.dispose();
  }

  #throwRecentFailure(stored: StoredModel): void {
    const failure = this.#failures.get(stored.key);
    if (failure === undefined) return;
    if (Date.now() < failure.untilMs) throw failure.error;
    this.#failures.delete(stored.key);
  }
}

function isIdle({ loaded }: Resident): boolean {
  const { numRunning, numWaiting } = loaded.model.stats;
  return numRunning === 0 && numWaiting === 0;
}

/** No more than leave in one piece; the rest stays where it is counted. */
function someEvents(generation: TextGeneration): GenerateEvent[] {
  const events: GenerateEvent[] = [];
  while (events.length < EVENTS_PER_CHUNK_MAX) {
    const event = generation.poll();
    if (event === null) break;
    events.push(event);
  }
  return events;
}

export const isolateEngine = new IsolateEngine();
