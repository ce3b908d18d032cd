/**
 * What every benchmark command has in common: arguments, exit codes, where results go. stdout carries the table, stderr
 * the progress. Exit codes: 0 done, 1 it cannot be done, 2 called wrongly.
 */
import { writeFileSync } from "node:fs";
import { inspect } from "node:util";
import { ModelError } from "../../src/model/errors.ts";
import { CommandError, UsageError } from "../model/errors.ts";
import { userPath } from "../model/host.ts";

/** Runs a command's main and sets the exit code of the process. */
export async function runCommand(name: string, main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (isUsageError(error)) {
      console.error(`${name}: ${(error as Error).message}\nSee \`npm run ${name} -- --help\`.`);
      process.exitCode = 2;
      return;
    }
    const isExpected = error instanceof CommandError || error instanceof ModelError;
    console.error(isExpected ? `${name}: ${error.message}` : `${name}: an unexpected error: ${inspect(error)}`);
    process.exitCode = 1;
  }
}

/** Options of every command that measures time. */
export const MEASURING_OPTIONS = {
  json: { type: "string" },
  "busy-ok": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** Ours, or one of `parseArgs`. */
function isUsageError(error: unknown): boolean {
  if (error instanceof UsageError) return true;
  return String((error as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS");
}

/** @throws UsageError */
export function parseCount(option: string, text: string, most = 10_000): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most && text.trim() !== "") return value;
  throw new UsageError(`${option} is '${text}'; it must be a whole number from 1 to ${most}.`);
}

/** @throws UsageError */
export function parseChoice<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`${option} is '${text}'; it must be one of ${choices.join(", ")}.`);
}

/** A line of progress. */
export function say(text: string): void {
  console.error(text);
}

/** Where npm was called is what the user meant, not the package's folder. */
export function writeJson(path: string, value: unknown): void {
  const file = userPath(path, process.env);
  // Samples in one line: a file is read by people too.
  const json = JSON.stringify(value, null, 2).replace(/\[[\d\s.,e+-]+\]/g, (list) => list.replace(/\s+/g, " "));
  writeFileSync(file, `${json}\n`);
  say(`Written: ${file}`);
}
