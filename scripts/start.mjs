/**
 * `npm start`: runs the Worker locally and says when it can answer. A thin supervisor around `wrangler dev`: it needs
 * no network and no account, keeps wrangler's output down to warnings and errors, loads the default model before it
 * prints the one "ready" line, and takes the whole process tree down when it is stopped.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
const BUNDLED_NODE = join(ROOT, "node_modules/node/bin/node");
const HOST = "127.0.0.1";
const DEFAULT_PORT = 8787;
/** wrangler 4.164 refuses anything older. */
const NODE_MIN = [22, 12];
/** Bundling, starting workerd and loading the demo take a few seconds on a slow laptop. */
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
/** wrangler needs a moment to stop workerd; after this it is killed. */
const STOP_GRACE_MS = 5_000;

const HELP = `Usage: npm start [-- options]

Serves the API and the chat page on http://${HOST}:${DEFAULT_PORT}.

  --port N          port to listen on (default: $PORT, else ${DEFAULT_PORT})
  --persist-to DIR  where sessions and added models are kept (default: .wrangler/state)
  --var KEY:VALUE   set a variable of the Worker, e.g. --var DEFAULT_MODEL:mine (repeatable)
  --inspector-port N  where a debugger can connect (default: any free port)
  --no-warm         do not load the model before the first request
  --verbose         show everything that wrangler prints
  --help            this text

Exit codes: 0 after Ctrl-C or SIGTERM, 2 called wrongly, 1 for everything else.`;

/** The command was called wrongly. */
class UsageError extends Error {}

async function main() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: process.env.PORT ?? String(DEFAULT_PORT) },
      "persist-to": { type: "string", default: join(ROOT, ".wrangler/state") },
      var: { type: "string", multiple: true, default: [] },
      "inspector-port": { type: "string", default: "0" },
      "no-warm": { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const port = parsePort(values.port);
  const node = findNode();
  await assertPortIsFree(port);

  const startedAtMs = performance.now();
  const server = startWrangler(node, port, values);
  stopWith(server);
  const report = await untilReady(port, server, values["no-warm"] ? "/health" : "/ready");
  if (report === null) return;
  const tookMs = Math.round(performance.now() - startedAtMs);
  console.log(readyLine(`http://${HOST}:${port}`, report, tookMs));
}

function parsePort(text) {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new UsageError(`The port must be a whole number from 1 to 65535, not '${text}'.`);
  }
  return port;
}

/** This Node where it is new enough, else the one that `npm ci` put into node_modules. */
function findNode() {
  if (!existsSync(WRANGLER)) throw new Error("wrangler is not installed here. Run `npm ci` first.");
  if (isNewEnough(process.versions.node)) return process.execPath;
  if (existsSync(BUNDLED_NODE)) return BUNDLED_NODE;
  throw new Error(
    `Node ${NODE_MIN.join(".")} or newer is needed, this is ${process.versions.node}, and the Node that comes with the ` +
      "packages is missing. Run `npm ci` (without --ignore-scripts), or install a newer Node.",
  );
}

function isNewEnough(version) {
  const [major, minor] = version.split(".").map(Number);
  return major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
}

function assertPortIsFree(port) {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error) => {
      const why = error.code === "EADDRINUSE" ? "is in use" : `cannot be opened (${error.code})`;
      reject(new Error(`Port ${port} ${why}. Choose another one: PORT=${(port % 65_535) + 1} npm start`));
    });
    probe.listen(port, HOST, () => probe.close(resolve));
  });
}

function startWrangler(node, port, { verbose, "persist-to": persistTo, "inspector-port": inspectorPort, var: vars }) {
  const args = [
    WRANGLER,
    "dev",
    ...["--ip", HOST, "--port", String(port), "--inspector-port", inspectorPort, "--persist-to", persistTo],
    ...["--show-interactive-dev-session=false", "--log-level", verbose ? "log" : "warn"],
    ...vars.flatMap((pair) => ["--var", pair]),
  ];
  const env = {
    // Without these two the start would wait for the network.
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_LOG_PATH: join(ROOT, ".wrangler/logs"),
    ...process.env,
  };
  // A group of its own, so that one signal reaches wrangler, esbuild and workerd alike.
  return spawn(node, args, { cwd: ROOT, env, stdio: ["ignore", "inherit", "inherit"], detached: true });
}

/** Ends with the server, and ends the server with us. */
function stopWith(server) {
  let stopping = false;
  const stop = () => {
    signalGroup(server, stopping ? "SIGKILL" : "SIGTERM");
    if (!stopping) setTimeout(() => signalGroup(server, "SIGKILL"), STOP_GRACE_MS).unref();
    stopping = true;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
  server.on("error", (error) => {
    console.error(`start: wrangler cannot be run: ${error.message}`);
    process.exit(1);
  });
  server.on("exit", (code) => {
    // wrangler may have died and left workerd behind.
    signalGroup(server, "SIGKILL");
    process.exit(stopping ? 0 : (code ?? 1));
  });
}

function signalGroup(server, signal) {
  try {
    // Windows has no process groups; wrangler takes its children along there.
    if (process.platform === "win32") server.kill(signal);
    else process.kill(-server.pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** The answer of `path` once it is 200; null where the server runs but has no model (said on stderr). */
async function untilReady(port, server, path) {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  let reason = "no answer";
  while (performance.now() < deadlineMs && server.exitCode === null) {
    try {
      const response = await fetch(`http://${HOST}:${port}${path}`);
      const body = await response.json();
      if (response.ok) return body;
      reason = body.message ?? JSON.stringify(body);
      // Waiting does not mend a missing or broken model.
      if (body.retryable === false) break;
    } catch {
      // Not listening yet.
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  console.error(`runnel listens on http://${HOST}:${port} but its default model does not load: ${reason}`);
  return null;
}

function readyLine(url, report, tookMs) {
  const model = report.model === undefined ? "model not loaded yet" : `model ${report.model}, engine ${report.engine}`;
  return `runnel is ready: ${url}  (${model}, ${tookMs} ms)`;
}

main().catch((error) => {
  console.error(`start: ${error.message}`);
  const isUsage = error instanceof UsageError || String(error.code).startsWith("ERR_PARSE_ARGS");
  process.exit(isUsage ? 2 : 1);
});
