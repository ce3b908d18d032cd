/**
 * dist/zod: zod without its generator of JSON Schemas, which every schema refers to and no Worker calls (the OpenAPI document
 * is made at build time). 18 KB of script, which an alias in `wrangler.toml` spares each isolate.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SOURCE = join(ROOT, "node_modules/zod");
const DIST = join(ROOT, "dist");
const OUTPUT = join(DIST, "zod");
const LEFT_OUT = ["v4/core/json-schema-processors.js", "v4/core/to-json-schema.js"];

/** Leaves alone what is of the installed version: somebody may be bundling it. */
export function buildSlimZod() {
  if (existsSync(OUTPUT) && versionOf(OUTPUT) === versionOf(SOURCE)) return;
  mkdirSync(DIST, { recursive: true });
  const fresh = mkdtempSync(join(DIST, "zod-"));
  cpSync(SOURCE, fresh, { recursive: true, filter: (path) => !/\.(ts|cts|cjs|md)$/.test(path) });
  for (const path of LEFT_OUT) writeFileSync(join(fresh, path), refusing(readFileSync(join(fresh, path), "utf8")));
  rmSync(OUTPUT, { recursive: true, force: true });
  renameSync(fresh, OUTPUT);
}

const versionOf = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;

/** A module of the same exports. zod asks some of them for a method whenever it makes a schema. */
function refusing(source) {
  const names = [...source.matchAll(/^export (?:const|function) (\w+)|^export \{ \w+ as (\w+) \}/gm)].map(
    ([, name, renamed]) => name ?? renamed,
  );
  const list = names.map((name) => `${name.startsWith("create") ? "make" : "refuse"} as ${name}`);
  return [
    'function refuse() { throw new Error("JSON Schemas are made at build time, not in a Worker."); }',
    "function make() { return refuse; }",
    `export { ${list.join(", ")} };`,
    "",
  ].join("\n");
}
