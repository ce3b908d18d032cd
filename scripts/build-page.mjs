/**
 * Bundles the pages: src/page/main.ts → public/app.js, the chat, and src/page/dashboard/main.ts → public/dashboard.js, which
 * the Worker serves as static assets; public/openapi.json from the validation schemas; and dist/zod (`slim-zod.mjs`). Runs before `wrangler dev` and `wrangler deploy` (see [build] in wrangler.toml) and before the tests.
 */
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as esbuild from "esbuild";
import { buildSlimZod } from "./slim-zod.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const ENTRIES = { app: join(ROOT, "src/page/main.ts"), dashboard: join(ROOT, "src/page/dashboard/main.ts") };
const OUTPUT = join(ROOT, "public");

const HELP = `Usage: node scripts/build-page.mjs [options]

Bundles src/page/main.ts into public/app.js, and src/page/dashboard/main.ts into public/dashboard.js,
and writes public/openapi.json from the schemas that validate requests.

  --watch       build the bundles again after every change, until Ctrl-C
  --sourcemap   also write maps (.js.map), for a debugger
  --help        this text

Exit codes: 0 done, 1 failed, 2 called wrongly.`;

/** Browsers of the last years; the page uses nothing that would need more down-levelling. */
const TARGET = ["chrome111", "firefox115", "safari16.4"];

async function main() {
  const { values } = parseArgs({
    options: { watch: { type: "boolean" }, sourcemap: { type: "boolean" }, help: { type: "boolean" } },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const options = {
    entryPoints: ENTRIES,
    outdir: OUTPUT,
    bundle: true,
    minify: true,
    format: "esm",
    target: TARGET,
    sourcemap: values.sourcemap ?? false,
    logLevel: "warning",
    legalComments: "none",
  };
  buildSlimZod();
  await writeOpenApi();
  if (values.watch) {
    const context = await esbuild.context({ ...options, logLevel: "info" });
    await context.watch();
    return;
  }
  await esbuild.build(options);
}

/** Bundled before it runs, so that Node 20, which runs no TypeScript, can write it too. */
async function writeOpenApi() {
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(ROOT, "scripts/openapi/document.ts")],
    bundle: true,
    format: "esm",
    platform: "node",
    write: false,
    logLevel: "warning",
  });
  const { openApiDocument } = await import(
    `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`
  );
  await writeFile(join(OUTPUT, "openapi.json"), `${JSON.stringify(openApiDocument())}\n`);
}

main().catch((error) => {
  console.error(`build-page: ${error.message}`);
  process.exitCode = String(error.code).startsWith("ERR_PARSE_ARGS") ? 2 : 1;
});
