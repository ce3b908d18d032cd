/**
 * `npm run origin`: composition only. Starts an engine process for each model, serves the API over them, and ends when it
 * is told to: nobody new is let in, running answers end, then everything does.
 */
import { systemClock } from "../api/clock.ts";
import { consoleLog, type Log } from "../api/log.ts";
import { drawSeed } from "../api/random-seed.ts";
import { forkEngine } from "./fork-engine.ts";
import { startHttpServer } from "./http-server.ts";
import type { EngineReport } from "./messages.ts";
import { ModelMeter } from "./meters.ts";
import { createMetrics, type OriginMetrics } from "./metrics.ts";
import { HELP, type OriginOptions, parseOptions, UsageError } from "./options.ts";
import { OriginModels } from "./origin-models.ts";
import { RECOVERY_LIMITS } from "./recovery.ts";
import { RemoteModel } from "./remote-model.ts";
import { EngineStartError, SUPERVISOR_LIMITS } from "./supervisor.ts";

const EXIT = { fault: 1, usage: 2, noGpu: 3 } as const;
/** For the last bytes of answers, however long they took. */
const CLOSE_GRACE_MS = 2_000;

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === null) {
    console.log(HELP);
    return;
  }
  const startedAtMs = performance.now();
  const metrics = createMetrics();
  const models = options.engines.map((config) => remoteModel(config, metrics));
  const service = new OriginModels(models);
  // Before models load, which may take minutes: a port that is taken is heard of at once, and probes are answered.
  const server = await startHttpServer({ ...options, models: service, metrics, log: logOf(options) });
  stopOnSignal(async () => {
    const stoppingAtMs = performance.now();
    await service.drain(options.drainMs);
    // What has been generated may still be on its way to a slow client.
    const leftMs = options.drainMs - (performance.now() - stoppingAtMs);
    await server.close(Math.max(CLOSE_GRACE_MS, leftMs));
    await service.stop();
  });
  try {
    for (const report of await Promise.all(models.map(({ supervisor }) => supervisor.start()))) describe(report);
  } catch (cause) {
    await service.stop();
    throw cause;
  }
  const names = models.map(({ id }) => id).join(", ");
  const tookMs = Math.round(performance.now() - startedAtMs);
  console.log(`runnel origin is ready: http://${options.host}:${server.port}  (${names}; ${tookMs} ms)`);
}

function remoteModel(config: OriginOptions["engines"][number], metrics: OriginMetrics): RemoteModel {
  return new RemoteModel({
    config,
    spawn: forkEngine,
    clock: systemClock,
    limits: { ...SUPERVISOR_LIMITS, ...RECOVERY_LIMITS },
    drawSeed,
    meter: new ModelMeter(
      metrics,
      config.modelId,
      () => performance.now(),
      config.adapters.map(({ name }) => name),
    ),
    log: (line) => console.error(line),
  });
}

function describe({ info, adapter, isSoftware, memory, kvTokens, loadMs }: EngineReport): void {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(`GPU: ${adapter}${isSoftware ? " (software: this is the CPU)" : ""}`);
  console.log(
    `${info.id}: context ${info.contextLength}, weights ${megabytes(memory.weightsBytes)}, KV cache ` +
      `${megabytes(memory.kvBytes)} for ${kvTokens} tokens, loaded in ${loadMs} ms`,
  );
}

function logOf({ isVerbose }: OriginOptions): Log {
  return (record) => {
    if (isVerbose || record.level === "error") consoleLog(record);
  };
}

/** The first signal ends gracefully, a second one at once. */
function stopOnSignal(stop: () => Promise<void>): void {
  let isStopping = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, async () => {
      if (isStopping) process.exit(EXIT.fault);
      isStopping = true;
      console.log(`${signal}: no new requests; running answers end first.`);
      await stop();
      process.exit(0);
    });
  }
}

main().catch((cause) => {
  if (cause instanceof UsageError) {
    console.error(`origin: ${cause.message} (--help says more)`);
    process.exit(EXIT.usage);
  }
  console.error(`origin: ${cause instanceof Error ? cause.message : String(cause)}`);
  process.exit(cause instanceof EngineStartError && cause.failure.kind === "no_gpu" ? EXIT.noGpu : EXIT.fault);
});
