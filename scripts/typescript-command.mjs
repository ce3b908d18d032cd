/**
 * Runs a command of this repository that is written in TypeScript, whatever Node npm was started with: this one where it
 * runs TypeScript, else the one that `npm ci` brought.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUNDLED_NODE = join(ROOT, "node_modules/node/bin/node");

/** @param load gives the module with `main(args)`, which resolves with the exit code */
export async function runTypescript(name, load) {
  if (process.features.typescript) {
    const { main } = await load();
    process.exitCode = await main(process.argv.slice(2));
  } else if (existsSync(BUNDLED_NODE)) {
    const child = spawn(BUNDLED_NODE, process.argv.slice(1), { stdio: "inherit" });
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
    child.on("exit", (code) => process.exit(code ?? 1));
  } else {
    console.error(`${name}: Node 24 is needed, this is ${process.versions.node}. Run \`npm ci\` first: it brings one.`);
    process.exitCode = 1;
  }
}
