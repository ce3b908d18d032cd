/** `npm run start:all` as a person runs it: two servers that come and go together. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, stop, untilLine } from "./server.ts";

const ROOT = join(import.meta.dirname, "../..");

const persistTo = mkdtempSync(join(tmpdir(), "runnel-all-"));
let all: ChildProcess;
let output = "";
let [workerUrl, originUrl] = ["", ""];

beforeAll(async () => {
  const [port, originPort] = [await freePort(), await freePort()];
  workerUrl = `http://127.0.0.1:${port}`;
  originUrl = `http://127.0.0.1:${originPort}`;
  const args = ["--persist-to", persistTo, "--port", String(port), "--origin-port", String(originPort)];
  all = spawn("npm", ["run", "start:all", "--", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  for (const stream of [all.stdout!, all.stderr!]) stream.on("data", (chunk) => (output += chunk));
  await untilLine(all, () => output, /^runnel is ready: .*$/m);
  await untilLine(all, () => output, /^runnel origin is ready: .*$/m);
});

afterAll(async () => {
  await stop(all);
  rmSync(persistTo, { recursive: true, force: true });
});

async function say(url: string, model: string): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      temperature: 0,
      max_tokens: 12,
      messages: [{ role: "user", content: "What is a KV cache?" }],
    }),
  });
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  return choices[0]!.message.content;
}

test("the demo model says the same on both engines, and through the Worker", async () => {
  const [gpu, forwarded, cpu] = await Promise.all([
    say(originUrl, "runnel-demo-gpu"),
    say(workerUrl, "runnel-demo-gpu"),
    say(workerUrl, "runnel-demo"),
  ]);
  expect(gpu).toBe(cpu);
  expect(forwarded).toBe(cpu);
});

test("both end together, and with them all that they started", async () => {
  await stop(all);
  for (const url of [workerUrl, originUrl]) await expect(fetch(`${url}/health`)).rejects.toThrow();
});
