/** Engine processes that are no processes: scripted ones, and ones that answer with the hash model. */
import { EngineHost } from "../../../src/origin/engine-host.ts";
import type { EngineConfig, EngineReport, EngineState, FromEngine, ToEngine } from "../../../src/origin/messages.ts";
import type { EngineProcess, EngineProcessListener, SpawnEngine } from "../../../src/origin/supervisor.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import { type World, world } from "../serving/world.ts";

export const CONFIG: EngineConfig = {
  modelId: "tiny",
  path: "tiny.gguf",
  adapters: [],
  software: true,
  contextLength: null,
  kvBytes: null,
  kvPrecision: "f16",
  batchTokensMax: null,
  runningMax: null,
  waitingMax: 8,
  speculation: "auto",
  draftPath: null,
};

export const REPORT: EngineReport = {
  info: {
    id: "tiny",
    created: 0,
    parent: null,
    ownedBy: "runnel",
    contextLength: 256,
    description: null,
    architecture: "llama",
    quantization: "F32",
    numParameters: 1,
    sizeBytes: 1,
    sha256: null,
    license: null,
    capabilities: ["completion"],
    residency: "gpu",
  },
  adapters: [],
  engine: "hash-model",
  adapter: "none",
  isSoftware: true,
  memory: { weightsBytes: 0, kvBytes: 0, scratchBytes: 0 },
  kvTokens: 256,
  requestsMax: 24,
  loadMs: 1500,
};

/** A life that does what the test says. */
export class ScriptedEngine implements EngineProcess {
  readonly sent: ToEngine[] = [];
  readonly #listener: EngineProcessListener;
  isKilled = false;

  constructor(listener: EngineProcessListener) {
    this.#listener = listener;
  }

  send(message: ToEngine): void {
    this.sent.push(structuredClone(message));
  }

  kill(): void {
    this.isKilled = true;
    this.exit("SIGKILL");
  }

  say(message: FromEngine): void {
    this.#listener.message(message);
  }

  ready(report: Partial<EngineReport> = {}): void {
    this.say({ type: "ready", report: { ...REPORT, ...report }, state: stateOf(world()) });
  }

  exit(how: string): void {
    this.#listener.exited(how);
  }
}

export function scripted(): { lives: ScriptedEngine[]; spawn: SpawnEngine } {
  const lives: ScriptedEngine[] = [];
  const spawn: SpawnEngine = (listener) => {
    const life = new ScriptedEngine(listener);
    lives.push(life);
    return life;
  };
  return { lives, spawn };
}

export function stateOf({ model }: World): EngineState {
  return { stats: model.stats, stepMs: 0, stepTokens: [] };
}

/** A life that answers, with messages that went through JSON as those of a process do. */
export class LiveEngine implements EngineProcess {
  readonly here: World;
  readonly host: EngineHost;
  readonly #listener: EngineProcessListener;
  /** Called with each request before it is begun. */
  onGenerate: (requestId: string) => unknown = () => {};
  #isAlive = true;

  constructor(listener: EngineProcessListener, limits: Partial<EngineLimits> = {}) {
    this.#listener = listener;
    this.here = world({ maxBatchSequences: 4 }, limits);
    this.here.backend.isAsynchronous = true;
    this.host = new EngineHost({
      model: this.here.model,
      send: (message) => this.#say(message),
      nowMs: () => this.here.nowMs,
      nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
      log: () => {},
    });
  }

  send(message: ToEngine): void {
    if (!this.#isAlive) return;
    const copy = JSON.parse(JSON.stringify(message)) as ToEngine;
    if (copy.type === "load") {
      this.#say({ type: "ready", report: REPORT, state: this.host.takeState() });
      return;
    }
    if (copy.type === "generate") this.onGenerate(copy.request.requestId);
    if (this.#isAlive) void this.host.handle(copy);
  }

  /** As a process that aborts: not a word more. */
  kill(): void {
    this.#isAlive = false;
    setImmediate(() => this.#listener.exited("SIGKILL"));
  }

  #say(message: FromEngine): void {
    const copy = JSON.parse(JSON.stringify(message)) as FromEngine;
    setImmediate(() => {
      if (this.#isAlive) this.#listener.message(copy);
    });
  }
}
