/**
 * Measures inside workerd: the same code, bundled into a Worker, in a runtime process of its own. workerd is run by
 * itself rather than through miniflare, because only so can V8 be given flags and the process be watched.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { text } from "node:stream/consumers";
import { build } from "esbuild";
import { KERNEL_SETS } from "../../src/backends/cpu/kernel-set.ts";
import { CommandError } from "../model/errors.ts";
import { ROOT } from "../model/paths.ts";
import type { EngineJob, EngineReport } from "./engine-job.ts";
import { workerdRuntime } from "./machine.ts";
import type { EngineMeasures } from "./measure-engine.ts";

const PKG = process.env.RUNNEL_WASM_PKG ?? join(ROOT, "wasm/pkg");
const START_TIMEOUT_MS = 20_000;

export async function runInWorkerd(job: EngineJob): Promise<EngineReport> {
  const folder = mkdtempSync(join(tmpdir(), "runnel-workerd-"));
  let child: ChildProcess | null = null;
  try {
    await bundle(folder);
    symlinkSync(job.modelPath, join(folder, "model.gguf"));
    writeFileSync(join(folder, "config.capnp"), workerdConfig(folder, job.v8Flags));
    child = spawn(workerdRuntime().path, ["serve", join(folder, "config.capnp"), "--control-fd=3"], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const errors = text(child.stderr!);
    const port = await listeningPort(child, errors);
    const { status, body } = await post(port, { kernelSets: job.kernelSets, settings: job.settings });
    if (status !== 200) throw new CommandError(`Measuring in workerd failed: ${body}`);
    const measures = JSON.parse(body) as EngineMeasures;
    return { ...measures, peakProcessBytes: peakBytes(child.pid!) };
  } finally {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function bundle(folder: string): Promise<void> {
  await build({
    entryPoints: [new URL("worker-job.ts", import.meta.url).pathname],
    outfile: join(folder, "worker.js"),
    bundle: true,
    format: "esm",
    target: "es2024",
    logLevel: "error",
    plugins: [
      {
        name: "wasm-beside-the-bundle",
        setup({ onResolve }) {
          onResolve({ filter: /\.wasm$/ }, ({ path }) => ({ path: `./${basename(path)}`, external: true }));
        },
      },
    ],
  });
  for (const set of KERNEL_SETS) copyFileSync(join(PKG, moduleName(set)), join(folder, moduleName(set)));
}

const moduleName = (set: string) => `runnel_${set}.wasm`;

/** workerd's own configuration format (workerd.capnp). @param folder with the bundle, the modules and the model */
export function workerdConfig(folder: string, v8Flags: readonly string[]): string {
  const modules = KERNEL_SETS.map((set) => `(name = "${moduleName(set)}", wasm = embed "${moduleName(set)}")`);
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = [${v8Flags.map((flag) => JSON.stringify(flag)).join(", ")}],
  services = [
    (name = "main", worker = (
      compatibilityDate = "2026-11-09",
      modules = [(name = "worker.js", esModule = embed "worker.js"), ${modules.join(", ")}],
      bindings = [(name = "FILES", service = "files")],
    )),
    (name = "files", disk = (path = ${JSON.stringify(folder)}, allowDotfiles = false)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
}

/** workerd writes one line of JSON for each socket to the control descriptor. */
async function listeningPort(child: ChildProcess, errors: Promise<string>): Promise<number> {
  const control = child.stdio[3] as NodeJS.ReadableStream;
  const listening = (async () => {
    let seen = "";
    for await (const chunk of control) {
      seen += chunk;
      const port = /"port":(\d+)/.exec(seen)?.[1];
      if (port !== undefined) return Number(port);
    }
    throw new CommandError(`workerd did not start: ${await errors}`);
  })();
  const late = new Promise<never>((_, reject) => {
    const fail = () => reject(new CommandError(`workerd does not listen after ${START_TIMEOUT_MS} ms.`));
    setTimeout(fail, START_TIMEOUT_MS).unref();
  });
  return Promise.race([listening, late]);
}

/** Not `fetch`: it gives up on an answer after five minutes, and a slow kernel set takes longer. */
async function post(port: number, body: unknown): Promise<{ status: number; body: string }> {
  const call = request({ host: "127.0.0.1", port, method: "POST" });
  call.end(JSON.stringify(body));
  const [response] = await once(call, "response");
  return { status: response.statusCode, body: await text(response) };
}

function peakBytes(pid: number): number | null {
  try {
    const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    // Linux only.
    return null;
  }
}

async function end(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}
