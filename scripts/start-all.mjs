/**
 * `npm run start:all`: the Worker, and a GPU origin that it forwards to, with the demo model on a GPU that is the CPU.
 * Whichever ends takes the other down; both end with this process.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

const ROOT = join(import.meta.dirname, "..");
const DEFAULT_ORIGIN_PORT = "8788";
/** What the Worker calls the demo model on the origin. */
const MODEL = "runnel-demo-gpu";
/** The origin lets running answers end before it does, and wrangler needs a moment. */
const DRAIN_S = 5;
const STOP_GRACE_MS = 12_000;

const HELP = `Usage: npm run start:all [-- options of npm start]

Serves the Worker as \`npm start\` does, and on another port a GPU origin on software, with the model ${MODEL}.

  --origin-port N  port of the origin (default: $ORIGIN_PORT, else ${DEFAULT_ORIGIN_PORT})
  --help           this text`;

const { values, tokens } = parseArgs({
  options: {
    "origin-port": { type: "string", default: process.env.ORIGIN_PORT ?? DEFAULT_ORIGIN_PORT },
    help: { type: "boolean", default: false },
  },
  strict: false,
  tokens: true,
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}

const originPort = values["origin-port"];
const origins = [
  { name: "local-gpu", kind: "runnel", url: `http://127.0.0.1:${originPort}/v1`, models: [{ id: MODEL }] },
];
const demo = join(ROOT, "public/models/demo.gguf");
// One size for a machine without a GPU: more at once would only be slower.
const size = ["--max-running", "8", "--batch-tokens", "256", "--drain-seconds", String(DRAIN_S)];

const children = [
  run("src/origin/main.ts", ["--model", `${MODEL}=${demo}`, "--software", "--port", originPort, ...size]),
  run("scripts/start.mjs", [...ownArgs(), "--var", `ORIGINS:${JSON.stringify(origins)}`]),
];

let isStopping = false;
let exitCode = 0;
let numRunning = children.length;
for (const child of children) {
  child.on("error", (error) => console.error(`start:all: ${error.message}`));
  child.on("close", (code) => {
    if (!isStopping) exitCode = code ?? 1;
    numRunning--;
    if (numRunning === 0) process.exit(exitCode);
    stopAll();
  });
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stopAll);

/** A group of its own, so that a terminal's Ctrl-C reaches it once, from here. */
function run(script, args) {
  const env = { ...process.env };
  // The origin's port is said; PORT is the Worker's.
  if (script.startsWith("src/")) delete env.PORT;
  return spawn(process.execPath, [join(ROOT, script), ...args], {
    cwd: ROOT,
    env,
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
}

/** What was said, without what is ours. */
function ownArgs() {
  const ours = new Set();
  for (const token of tokens) {
    if (token.kind !== "option" || token.name !== "origin-port") continue;
    ours.add(token.index);
    if (!token.inlineValue) ours.add(token.index + 1);
  }
  return process.argv.slice(2).filter((_, index) => !ours.has(index));
}

function stopAll() {
  if (isStopping) return;
  isStopping = true;
  for (const child of children) signal(child, "SIGTERM");
  setTimeout(() => {
    for (const child of children) signal(child, "SIGKILL");
  }, STOP_GRACE_MS).unref();
}

function signal(child, name) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  child.kill(name);
}
