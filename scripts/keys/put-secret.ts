/** `wrangler secret put`, with the value where no list of processes shows it: on its standard input. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../model/paths.ts";
import type { PutSecret } from "./secret-store.ts";

const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

export const putSecret: PutSecret = (name, value) =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WRANGLER, "secret", "put", name], {
      cwd: ROOT,
      env: { WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", ...process.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ exitCode: code ?? 1, said: said.trim() }));
    child.stdin.end(value);
  });
