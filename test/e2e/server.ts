/** The real thing: `npm start` as a person runs it, on a free port, with a state directory of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const START_TIMEOUT_MS = 120_000;

export interface RunningServer {
  url: string;
  port: number;
  /** The one line that says the server is ready. */
  readyLine: string;
  /** Everything printed so far. */
  output(): string;
  /** SIGTERM, as Ctrl-C does it; resolves with the exit code once everything has ended. */
  stop(): Promise<number | null>;
}

export interface ServerOptions {
  /** Where sessions and models are kept. */
  persistTo: string;
  /** More arguments of scripts/start.mjs. */
  args?: string[];
  port?: number;
}

export async function startServer({ persistTo, args = [], port }: ServerOptions): Promise<RunningServer> {
  const chosenPort = port ?? (await freePort());
  // Before the test's own: whatever keys the machine's `.dev.vars` has.
  const child = spawn("npm", ["start", "--", "--persist-to", persistTo, "--var", "API_KEYS:[]", ...args], {
    cwd: ROOT,
    env: { ...process.env, PORT: String(chosenPort) },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const readyLine = await untilLine(child, () => output, /^runnel is ready: .*$/m);
  return {
    url: `http://127.0.0.1:${chosenPort}`,
    port: chosenPort,
    readyLine,
    output: () => output,
    stop: () => stop(child),
  };
}

/** Below the range from which systems take the ports of outgoing connections: between the look and the use, nobody else
 * is given one of these by chance. */
const PORT_MIN = 20_000;
const PORT_MAX = 31_999;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN + 1));
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

export async function untilLine(child: ChildProcess, output: () => string, pattern: RegExp): Promise<string> {
  const deadlineMs = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadlineMs) {
    const match = pattern.exec(output());
    if (match !== null) return match[0];
    if (child.exitCode !== null) throw new Error(`npm start ended with ${child.exitCode}:\n${output()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await stop(child);
  throw new Error(`npm start printed no ready line:\n${output()}`);
}

export async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return child.exitCode;
  const ended = once(child, "exit");
  process.kill(-child.pid, "SIGTERM");
  await ended;
  return child.exitCode;
}
