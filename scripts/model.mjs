/**
 * `npm run model`: adds, lists and removes models. The command itself is `model/cli.ts`; this file only makes sure that
 * a Node which runs TypeScript runs it, whatever Node npm was started with.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUNDLED_NODE = join(ROOT, "node_modules/node/bin/node");

if (process.features.typescript) {
  const { main } = await import("./model/cli.ts");
  process.exitCode = await main(process.argv.slice(2));
} else if (existsSync(BUNDLED_NODE)) {
  const child = spawn(BUNDLED_NODE, process.argv.slice(1), { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code) => process.exit(code ?? 1));
} else {
  console.error(`model: Node 24 is needed, this is ${process.versions.node}. Run \`npm ci\` first: it brings one.`);
  process.exitCode = 1;
}
