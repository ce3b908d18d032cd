/** Measures in a Node process of its own: a fresh V8, with the flags of the job. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { CommandError } from "../model/errors.ts";

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 1 << 24;

/** @param script run with the job as its only argument; it prints its answer as JSON */
export async function runInNode<Answer>(script: string, job: unknown, v8Flags: readonly string[]): Promise<Answer> {
  const path = new URL(script, import.meta.url).pathname;
  const args = [...v8Flags, "--disable-warning=ExperimentalWarning", path, JSON.stringify(job)];
  try {
    const { stdout } = await run(process.execPath, args, { maxBuffer: OUTPUT_BYTES_MAX });
    return JSON.parse(stdout) as Answer;
  } catch (cause) {
    const { stderr = "" } = cause as { stderr?: string };
    throw new CommandError(`${script} failed: ${stderr.trim() || String(cause)}`, { cause });
  }
}
