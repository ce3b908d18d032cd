/** Runs a section in a process of its own and gathers what it tells, to its end, its crash or its time. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { SectionMessage, SectionOrder, SectionResult } from "./section.ts";

const PROCESS = join(import.meta.dirname, "section-process.ts");

/** What a section may take beyond its budget, to finish what is under way; then it is killed. */
const GRACE_S = 15;

export interface RunOptions {
  env: NodeJS.ProcessEnv;
  say: (text: string) => void;
  /** Stands in for the sections' program in tests. */
  program?: string;
  graceS?: number;
}

export async function runSection(order: SectionOrder, options: RunOptions): Promise<SectionResult> {
  const { env, say, program = PROCESS, graceS = GRACE_S } = options;
  const beganMs = performance.now();
  const child = fork(program, [JSON.stringify(order)], {
    env,
    // A process group: what it started ends with it.
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const values: Record<string, unknown> = {};
  let end: { status: "failed" | "skipped"; reason: string } | null = null;
  let errors = "";
  child.stderr!.on("data", (piece) => (errors = (errors + piece).slice(-2000)));
  child.on("message", (message: SectionMessage) => {
    if (message.type === "value") values[message.name] = message.value;
    else if (message.type === "say") say(`${order.name}: ${message.text}`);
    else end = { status: message.type, reason: message.message };
  });
  let isTimeUp = false;
  const timer = setTimeout(
    () => {
      isTimeUp = true;
      kill(child);
    },
    1000 * (order.budgetS + graceS),
  );
  const stopWithProcess = () => kill(child);
  process.on("exit", stopWithProcess);
  // What it started may hold its stderr open, and then nothing ever closes.
  child.once("exit", stopWithProcess);
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  process.off("exit", stopWithProcess);
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10;
  if (isTimeUp) return { status: "out of time", seconds, reason: `killed after ${order.budgetS + graceS} s`, values };
  if (end !== null) return { ...(end as Pick<SectionResult, "status" | "reason">), seconds, values };
  if (code === 0) return { status: "done", seconds, values };
  const reason = `the process ended with ${code ?? signal}: ${errors.trim()}`;
  return { status: "failed", seconds, reason, values };
}

/** With everything that it started. */
function kill({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended.
  }
}
