/**
 * One server for the tests of all client packages: `npm start` with the demo model, started before the first of them and
 * stopped behind the last. Clients share it, so no test may leave anything behind that another one could notice.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { freePort, startServer } from "../server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Without a slash at its end. */
    serverUrl: string;
  }
}

export const MODEL = "runnel-demo";

export default async function start(project: TestProject): Promise<() => Promise<void>> {
  const persistTo = mkdtempSync(join(tmpdir(), "runnel-clients-"));
  const port = await freePort();
  // What Hugging Face's client calls the model where it was told none.
  const aliases = JSON.stringify({ [`http://127.0.0.1:${port}/v1`]: MODEL });
  const server = await startServer({ persistTo, port, args: ["--var", `MODEL_ALIASES:${aliases}`] });
  project.provide("serverUrl", server.url);
  return async () => {
    await server.stop();
    rmSync(persistTo, { recursive: true, force: true });
  };
}
