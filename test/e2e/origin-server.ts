/** `npm run origin` as a process, on a software GPU and any free port. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 120_000;

export interface RunningOrigin {
  url: string;
  readyLine: string;
  /** Everything printed so far. */
  output(): string;
  /** Of the processes that have its models. */
  enginePids(): number[];
  signal(name: NodeJS.Signals): void;
  /** Resolves with the exit code. */
  ended: Promise<number | null>;
}

export interface EndedOrigin {
  code: number | null;
  output: string;
}

function spawnOrigin(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ["src/origin/main.ts", ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  return { child, output: () => output, ended: once(child, "close").then(([code]) => code as number | null) };
}

export async function startOrigin(args: string[], env?: Record<string, string>): Promise<RunningOrigin> {
  const { child, output, ended } = spawnOrigin(["--software", "--port", "0", ...args], env);
  const readyLine = await untilReady(child, output);
  return {
    url: /http:\/\/\S+/.exec(readyLine)![0],
    readyLine,
    output,
    ended,
    enginePids: () => childPids(child.pid!),
    signal: (name) => void child.kill(name),
  };
}

/** For what does not get to be ready. */
export async function runOrigin(args: string[], env?: Record<string, string>): Promise<EndedOrigin> {
  const { output, ended } = spawnOrigin(args, env);
  return { code: await ended, output: output() };
}

async function untilReady(child: ChildProcess, output: () => string): Promise<string> {
  const deadlineMs = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadlineMs && child.exitCode === null) {
    const match = /^runnel origin is ready: .*$/m.exec(output());
    if (match !== null) return match[0];
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill("SIGKILL");
  throw new Error(`The origin is not ready (exit code ${child.exitCode}):\n${output()}`);
}

/** As Linux tells it. */
function childPids(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}
