/**
 * Keeps a session's KV blocks in its object's storage and gives them back after an eviction, a crash or a deploy. Blocks
 * are written after the events that told of them: the platform holds output back until a write is durable, and no reader
 * shall wait for a cache. What could not be written, or not in time, is computed again by the next turn.
 */
import type { KvSource } from "../serving/kv-archive.ts";
import type { ServedModel } from "../serving/served-model.ts";
import { sessionKvDaysFrom } from "./engine-settings.ts";
import type { Env } from "./env.ts";
import { isolateEngine } from "./isolate-engine.ts";
import { type KvRows, KvStore } from "./kv-store.ts";

/** Before each write, for events on their way out and for the steps of others. */
const PAUSE_MS = 5;
/** A fork waits for so many of them: a whole context is written by then, and if not, the fork computes the rest. */
const PAUSES_MAX = 100;
/** Saving waits for steps of running streams. Where none comes for 2 s, their readers take nothing, and it is given up. */
const STALLS_MAX = 400;
/** In a long turn blocks are saved every so many tokens: a row costs the same then, and a cut turn loses no more. */
const CHECKPOINT_TOKENS = 128;
const DAY_MS = 24 * 60 * 60 * 1000;

interface SaveJob {
  model: ServedModel;
  salt: string;
  tokens: readonly number[];
}

export class SessionKv {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #store: KvStore;
  /** 0 = nothing is kept. */
  readonly #keptMs: number;
  readonly #sessionExists: () => boolean;
  readonly #replanAlarm: () => Promise<void>;
  /** What is to be saved; a newer one takes its place, since it holds the older one's tokens or replaces them. */
  #job: SaveJob | null = null;
  #isSaving = false;
  /** How often in a row nothing could be written. */
  #numStalls = 0;
  /** Tokens of this turn that were saved or are about to be. */
  #numCovered = 0;

  /**
   * @param sessionExists false once it was deleted: from then on nothing is written
   * @param replanAlarm `dueAtMs` has changed
   */
  constructor(ctx: DurableObjectState, env: Env, sessionExists: () => boolean, replanAlarm: () => Promise<void>) {
    this.#ctx = ctx;
    this.#env = env;
    this.#store = new KvStore(ctx.storage);
    this.#keptMs = sessionKvDaysFrom(env.SESSION_KV_DAYS) * DAY_MS;
    this.#sessionExists = sessionExists;
    this.#replanAlarm = replanAlarm;
  }

  /** Options of the next turn's generation. */
  beginTurn(model: ServedModel): { archive?: KvSource } {
    this.#numCovered = 0;
    const fingerprint = isolateEngine.kvFingerprint(model);
    if (fingerprint === null || this.#keptMs === 0) return {};
    const archive = this.#store.open(fingerprint);
    return { archive: { read: (blocks) => untilFault(() => archive.read(blocks)) } };
  }

  /** Of a turn that goes on. @param tokens all of the conversation so far; asked for only where they are needed */
  checkpoint(model: ServedModel, salt: string, tokens: () => readonly number[]): void {
    if (this.#keptMs === 0) return;
    const soFar = tokens();
    if (soFar.length - this.#numCovered >= CHECKPOINT_TOKENS) this.save(model, salt, soFar);
  }

  /** Saves the full blocks of these tokens, soon. */
  save(model: ServedModel, salt: string, tokens: readonly number[]): void {
    if (this.#keptMs === 0) return;
    this.#numCovered = tokens.length;
    this.#job = { model, salt, tokens };
    this.#numStalls = 0;
    if (!this.#isSaving) this.#ctx.waitUntil(this.#saveAll());
  }

  /** When the object's alarm is to call `expire`; null = nothing is kept. */
  get dueAtMs(): number | null {
    return this.#store.expiresAtMs;
  }

  expire(): void {
    this.#store.expire(Date.now(), this.#keptMs);
  }

  /** For a fork, with what is just being saved. @see KvStore.rows */
  async rows(fromIndex: number, numTokens: number): Promise<KvRows | null> {
    for (let i = 0; this.#isSaving && i < PAUSES_MAX; i++) await scheduler.wait(PAUSE_MS);
    return orElse(null, () => this.#store.rows(fromIndex, numTokens));
  }

  /**
   * Takes over what another session has of its first tokens, message by message; as much of it as comes before anything
   * goes wrong.
   *
   * @param name of its object
   */
  async adopt(name: string, numTokens: number): Promise<void> {
    if (this.#keptMs === 0) return;
    const source = this.#env.CHAT_SESSION.getByName(name);
    try {
      for (let index = 0; ; ) {
        const rows = await source.kvRows(index, numTokens);
        if (rows === null || rows.blocks.length === 0 || !this.#sessionExists()) break;
        this.#store.adopt(rows, Date.now() + this.#keptMs);
        index += rows.blocks.length;
      }
      await this.#replanAlarm();
    } catch (cause) {
      logFault(cause);
    }
  }

  async #saveAll(): Promise<void> {
    this.#isSaving = true;
    try {
      while (this.#job !== null) {
        await scheduler.wait(PAUSE_MS);
        if (!this.#sessionExists()) this.#job = null;
        if (this.#job === null || (this.#saveSome(this.#job) && this.#numStalls < STALLS_MAX)) continue;
        this.#job = null;
        await this.#replanAlarm();
      }
    } catch (cause) {
      this.#job = null;
      logFault(cause);
    } finally {
      this.#isSaving = false;
    }
  }

  /** @returns true when there is more to write */
  #saveSome({ model, salt, tokens }: SaveJob): boolean {
    const fingerprint = isolateEngine.kvFingerprint(model);
    if (fingerprint === null) return false;
    const expiresAtMs = Date.now() + this.#keptMs;
    const write = () =>
      this.#store.save(fingerprint, expiresAtMs, (archive) => {
        const progress = model.saveBlocks(tokens, salt, archive);
        this.#numStalls = progress?.numWritten === 0 ? this.#numStalls + 1 : 0;
        return progress;
      });
    return orElse(false, write);
  }
}

/** A cache that fails is an empty one, and no reason to refuse an answer. */
function orElse<T>(value: T, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    logFault(cause);
    return value;
  }
}

/** As much as comes before anything goes wrong. */
function* untilFault<T>(read: () => Iterable<T>): Generator<T, void, void> {
  try {
    yield* read();
  } catch (cause) {
    logFault(cause);
  }
}

function logFault(cause: unknown): void {
  console.error("The kept KV cache of a session cannot be used; what is missing of it is computed:", cause);
}
