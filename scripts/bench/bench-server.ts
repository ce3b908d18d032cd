/** The real Worker, started as a person starts it, on a free port, with a state folder of its own that ends with it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, startServer } from "../../test/e2e/server.ts";
import { main as modelCommand } from "../model/cli.ts";
import { CommandError } from "../model/errors.ts";
import { PROCESS_HOST } from "../model/host.ts";

export interface BenchServer {
  url: string;
  /** Id of the model it was started for. */
  model: string;
  inspectorPort: number;
  stop(): Promise<void>;
}

export interface BenchServerOptions {
  /** A file to be served as the default model; null = the demo. */
  modelPath: string | null;
  /** Variables of the Worker. */
  variables?: Record<string, string>;
}

/** What the added file is called. */
const ADDED_ID = "benched";
const DEMO_ID = "runnel-demo";

/** It listens and has not loaded its model. */
export async function startColdServer({ modelPath, variables = {} }: BenchServerOptions): Promise<BenchServer> {
  const persistTo = mkdtempSync(join(tmpdir(), "runnel-bench-server-"));
  const model = modelPath === null ? DEMO_ID : ADDED_ID;
  const vars = { DEFAULT_MODEL: model, ...variables };
  if (modelPath !== null) await addModel(modelPath, persistTo, variables);
  const inspectorPort = await freePort();
  const args = ["--no-warm", "--inspector-port", String(inspectorPort)];
  for (const [name, value] of Object.entries(vars)) args.push("--var", `${name}:${value}`);
  const server = await startServer({ persistTo, args });
  const stop = once(async () => {
    await server.stop();
    rmSync(persistTo, { recursive: true, force: true });
  });
  return { url: server.url, model, inspectorPort, stop: stopWithProcess(stop) };
}

async function addModel(path: string, persistTo: string, env: Record<string, string>): Promise<void> {
  const host = {
    ...PROCESS_HOST,
    env: { ...PROCESS_HOST.env, ...env },
    print: () => {},
    progressScreen: { write: () => {} },
  };
  const code = await modelCommand(["add", path, "--name", ADDED_ID, "--persist-to", persistTo], host);
  if (code !== 0) throw new CommandError(`${path} cannot be served; the reason is above.`);
}

/** Whoever ends this process ends the server with it. */
function stopWithProcess(stop: () => Promise<void>): () => Promise<void> {
  const onSignal = () => void stop().then(() => process.exit(1));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
  return async () => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
    await stop();
  };
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  return () => (running ??= action());
}
