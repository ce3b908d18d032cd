/**
 * The borders of the house, as ARCHITECTURE.md draws them: which room may import which, who may touch the platform,
 * and how long a file may get. A new room has to be entered here before anything can import it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../../..");
const SRC = join(ROOT, "src");

/** Room → rooms it may import besides itself. `protocol` is data without dependencies, so every room may import it. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  protocol: [],
  model: ["protocol"],
  text: ["protocol", "model"],
  serving: ["protocol", "text", "model"],
  "backends/cpu": ["protocol", "serving", "model"],
  "backends/gpu": ["protocol", "serving", "model"],
  api: ["protocol"],
  edge: ["protocol", "text", "model", "serving", "backends/cpu", "api"],
  origin: ["protocol", "text", "model", "serving", "backends/gpu", "api"],
  page: [],
};

const NODE_MODULES = ["child_process", "crypto", "http", "net", "path", "timers", "util"].map((name) => `node:${name}`);

/** Packages a room may use; anything else from node_modules is a decision for ARCHITECTURE.md first. */
const MAY_USE: Record<string, readonly string[]> = {
  protocol: ["zod"],
  // Only `source-file.ts`, which no Worker imports.
  model: ["node:fs", "node:stream"],
  text: ["@huggingface/tokenizers", "@huggingface/jinja"],
  serving: [],
  "backends/cpu": [],
  "backends/gpu": ["webgpu", "node:fs", "node:os", "node:path", "node:url", "@sparticuz/chromium"],
  api: ["hono"],
  edge: ["hono", "zod", "cloudflare:workers"],
  origin: ["@hono/node-server", "prom-client", ...NODE_MODULES],
  page: [],
};

const LINES_MAX = 400;

const files = sourceFiles(SRC);

describe.each(files)("%s", (path) => {
  const text = readFileSync(join(SRC, path), "utf8");
  const room = roomOf(path);

  test("lies in a known room", () => {
    expect(Object.keys(MAY_IMPORT)).toContain(room);
  });

  test("imports only what its room may", () => {
    const wrong = importsOf(text).filter((specifier) => !allowed(path, room, specifier));
    expect(wrong).toEqual([]);
  });

  test(`has at most ${LINES_MAX} lines`, () => {
    expect(text.split("\n").length).toBeLessThanOrEqual(LINES_MAX);
  });
});

/** The real clock and randomness that hosts hand to the routes. */
const HOST_DEFAULTS = ["api/clock.ts", "api/random-id.ts", "api/random-seed.ts"];

test("the pure rooms take time and randomness as arguments", () => {
  const ambient = /\b(Date\.now|performance\.now|Math\.random|crypto\.(randomUUID|getRandomValues))\b/;
  const guilty = files
    .filter((path) => ["protocol", "text", "serving", "api"].includes(roomOf(path)) && !HOST_DEFAULTS.includes(path))
    .filter((path) => ambient.test(withoutComments(readFileSync(join(SRC, path), "utf8"))));
  expect(guilty).toEqual([]);
});

/** Services in front of a model, which routes hand through that door: other names, and a history that is cut. */
const SERVICES_IN_FRONT = ["api/model-names.ts", "api/response-routes.ts"];

test("every route asks a model through the one door that knows keys and limits", () => {
  const asking = files
    .filter((path) => roomOf(path) === "api" && !SERVICES_IN_FRONT.includes(path))
    .filter((path) => /\bmodels\.generate\(/.test(withoutComments(readFileSync(join(SRC, path), "utf8"))));
  expect(asking).toEqual(["api/start-generation.ts"]);
});

function allowed(path: string, room: string, specifier: string): boolean {
  if (specifier.endsWith(".wasm")) return room === "edge";
  if (!specifier.startsWith(".")) return packageAllowed(room, specifier);
  const target = relative(SRC, resolve(SRC, dirname(path), specifier));
  // Kernels lie beside the engine of the other backend, outside of `src`.
  if (target.startsWith(join("..", "kernels-gpu"))) return room === "backends/gpu";
  if (target.startsWith("..")) return false;
  const targetRoom = roomOf(target);
  return targetRoom === room || (MAY_IMPORT[room] ?? []).includes(targetRoom);
}

function packageAllowed(room: string, specifier: string): boolean {
  return (MAY_USE[room] ?? []).some((name) => specifier === name || specifier.startsWith(`${name}/`));
}

function roomOf(path: string): string {
  const parts = path.split(sep);
  return parts[0] === "backends" ? `backends/${parts[1]}` : (parts[0] ?? "");
}

function importsOf(text: string): string[] {
  const pattern = /^\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|^\s*import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gms;
  return [...withoutComments(text).matchAll(pattern)].map((match) => (match[1] ?? match[2] ?? match[3]) as string);
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function sourceFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
    .sort();
}
