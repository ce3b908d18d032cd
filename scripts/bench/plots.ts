/** `npm run bench:plots`: the page of plots and the README's figures, from the JSON results in `docs/benchmarks/`. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CommandError } from "../model/errors.ts";
import { userPath } from "../model/host.ts";
import { ROOT } from "../model/paths.ts";
import { benchmarkPage } from "./benchmark-page.ts";
import { runCommand, say } from "./command.ts";
import { readResults } from "./read-results.ts";
import { withBlock } from "./readme-block.ts";

const HELP = `Usage: npm run bench:plots -- [--dir DIR] [--readme FILE]

Writes DIR/index.html and the figures between the markers of the README from DIR/{peers,engine,kernels,memory,server,sessions,origin,gpu}.json,
as far as they are there. To measure anew: \`npm run bench -- --json docs/benchmarks/engine.json\`, and so on.

  --dir DIR      where the results are (default: docs/benchmarks)
  --readme FILE  whose figures are replaced (default: README.md)
  --help         this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      dir: { type: "string", default: join(ROOT, "docs/benchmarks") },
      readme: { type: "string", default: join(ROOT, "README.md") },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const folder = userPath(values.dir, process.env);
  const readme = userPath(values.readme, process.env);
  const results = readResults(folder);
  if (results.length === 0) throw new CommandError(`There are no results in ${folder}. Measure with --json first.`);
  write(join(folder, "index.html"), benchmarkPage(results));
  write(readme, withBlock(readFileSync(readme, "utf8"), results));
}

function write(path: string, text: string): void {
  writeFileSync(path, text);
  say(`Written: ${path}`);
}

await runCommand("bench:plots", main);
