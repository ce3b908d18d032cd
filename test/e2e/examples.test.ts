/** What examples/ holds runs as it is, against the real Worker. */
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningServer, startServer } from "./server.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const HAS_PYTHON = spawnSync("python3", ["--version"]).status === 0;

let server: RunningServer;
let persistTo: string;

beforeAll(async () => {
  persistTo = await mkdtemp(join(tmpdir(), "runnel-examples-"));
  server = await startServer({ persistTo });
});

afterAll(async () => {
  await server?.stop();
  await rm(persistTo, { recursive: true, force: true });
});

/** @returns what it printed; an exit code other than 0 is thrown */
async function run(command: string, file: string): Promise<string> {
  const env = { ...process.env, RUNNEL_URL: server.url };
  return (await promisify(execFile)(command, [join(EXAMPLES, file)], { env })).stdout;
}

test("curl prints the events", async () => {
  const events = await run("sh", "chat.sh");
  expect(events).toContain('"chat.completion.chunk"');
  expect(events.trimEnd()).toMatch(/data: \[DONE\]$/);
});

test.skipIf(!HAS_PYTHON)("Python prints the answer", async () => {
  expect((await run("python3", "chat.py")).trim()).not.toBe("");
});

test.each(["openai-client.mjs", "langchain.mjs", "ai-sdk.mjs"])("%s prints the answer", async (file) => {
  expect((await run(process.execPath, file)).trim()).not.toBe("");
});
