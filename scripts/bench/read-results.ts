/** The result files of a folder, in the order in which they are told. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { CommandError } from "../model/errors.ts";
import { RESULT_VERSION, type Results } from "./results.ts";

const KINDS: readonly Results["kind"][] = [
  "peers",
  "engine",
  "kernels",
  "memory",
  "server",
  "sessions",
  "origin",
  "gpu",
];

/** `KIND.json` for each kind that was measured. @throws CommandError for a file of another version */
export function readResults(folder: string): Results[] {
  return KINDS.map((kind) => ({ kind, path: join(folder, `${kind}.json`) }))
    .filter(({ path }) => statSync(path, { throwIfNoEntry: false }) !== undefined)
    .map(({ kind, path }) => {
      const results = JSON.parse(readFileSync(path, "utf8")) as Results;
      if (results.version === RESULT_VERSION && results.kind === kind) return results;
      throw new CommandError(
        `${path} holds ${results.kind} results of version ${results.version}, not ${kind} of version ${RESULT_VERSION}. ` +
          "Measure again.",
      );
    });
}
