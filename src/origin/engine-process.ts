/**
 * The process of one engine: a model, its scheduler and its GPU. A native abort, which Dawn and drivers answer some faults
 * with, ends this process and nothing else. Whatever it cannot mend it ends with, too: the server starts another one.
 *
 * Started by `fork` with the server at the other end of the channel. Without a server it ends.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { NoGpuError } from "../backends/gpu/adapter.ts";
import { ModelError } from "../model/errors.ts";
import { EngineHost } from "./engine-host.ts";
import { loadEngine } from "./engine-loader.ts";
import type { EngineConfig, EngineFailure, FromEngine, ToEngine } from "./messages.ts";

/** Much more often than the server's patience ends. */
const BEAT_MS = 500;

let host: EngineHost | null = null;

process.on("message", (message: ToEngine) => {
  if (message.type === "load") start(message.config).catch(fail);
  else host?.handle(message).catch(die);
});
process.on("disconnect", () => process.exit(0));
process.on("unhandledRejection", die);
process.on("uncaughtException", die);
// Signals of the terminal go to every process of the group: the server decides when this one ends.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

setInterval(() => {
  if (host === null) send({ type: "beat", state: null });
  else host.beat();
}, BEAT_MS);

async function start(config: EngineConfig): Promise<void> {
  const { model, report } = await loadEngine(config, { onCrash: die, log });
  host = new EngineHost({ model, send, nowMs: () => performance.now(), nextTurn, log });
  send({ type: "ready", report, state: host.takeState() });
}

function send(message: FromEngine): void {
  // A server that is gone needs no answer; `disconnect` ends this process.
  if (process.connected) process.send!(message);
}

function fail(cause: unknown): void {
  const failure: EngineFailure = {
    kind: cause instanceof NoGpuError ? "no_gpu" : cause instanceof ModelError ? "model" : "fault",
    message: cause instanceof Error ? cause.message : String(cause),
  };
  if (failure.kind === "fault") log("The engine cannot start", cause);
  process.send!({ type: "failed", failure } satisfies FromEngine, () => process.exit(1));
}

function die(cause: unknown): void {
  log("The engine ends", cause);
  process.exit(1);
}

function log(what: string, cause: unknown): void {
  console.error(`${what}:`, cause);
}
