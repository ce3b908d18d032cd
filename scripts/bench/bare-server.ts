/**
 * The Worker in workerd with nothing in front of it. `wrangler dev` puts a proxy there that a deployed Worker does not
 * have, and that takes longer than a cached turn.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare, Response } from "miniflare";
import { KERNEL_SETS } from "../../src/backends/cpu/kernel-set.ts";
import { type ModelManifest, manifestKey, modelFileKey } from "../../src/model/catalog.ts";
import { readGgufHeader } from "../../src/model/gguf-reader.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { fileSource } from "../model/file-source.ts";
import { ROOT } from "../model/paths.ts";
import type { BenchModel } from "./models.ts";

export interface BareServer {
  url: string;
  /** Beside the demo, under its name. */
  add(model: BenchModel): Promise<void>;
  stop(): Promise<void>;
}

/** @param persistTo where the objects' storage is kept @param variables of the Worker */
export async function startBareServer(persistTo: string, variables: Record<string, string>): Promise<BareServer> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, "src/edge/worker.ts")],
    outdir: "/",
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    logLevel: "error",
    external: ["cloudflare:workers", "node:*", "*.wasm"],
  });
  const wasm = KERNEL_SETS.map(async (set) => {
    const path = `wasm/pkg/runnel_${set}.wasm`;
    return { type: "CompiledWasm" as const, path: join("/", path), contents: await readFile(join(ROOT, path)) };
  });
  const object = (className: string) => ({ className, useSQLite: true });
  const options = convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: 0,
    modulesRoot: "/",
    modules: [
      { type: "ESModule", path: "/src/edge/worker.js", contents: outputFiles[0]!.text },
      ...(await Promise.all(wasm)),
    ],
    compatibilityDate: "2026-11-09",
    compatibilityFlags: ["enable_request_signal"],
    durableObjects: {
      CHAT_SESSION: object("ChatSession"),
      ENGINE_LANE: object("EngineLane"),
      SESSION_DIRECTORY: object("SessionDirectory"),
      RESPONSE_CONVERSATION: object("ResponseConversation"),
    },
    resourcePersistencePath: persistTo,
    cf: false,
    // The Worker logs every request.
    handleStructuredLogs: () => {},
    r2Buckets: ["MODELS"],
    bindings: variables,
    serviceBindings: {
      ASSETS: async (request) => {
        const body = await readFile(join(ROOT, "public", new URL(request.url).pathname)).catch(() => null);
        return body === null ? new Response(null, { status: 404 }) : new Response(body);
      },
    },
  });
  const miniflare = new Miniflare(options);
  const url = (await miniflare.ready).href.replace(/\/$/, "");
  const add = async (model: BenchModel) => {
    const bucket = await miniflare.getR2Bucket("MODELS");
    const manifest = await manifestOf(model);
    await bucket.put(modelFileKey(manifest), await readFile(model.path));
    await bucket.put(manifestKey(manifest.id), JSON.stringify(manifest));
  };
  return { url, add, stop: () => miniflare.dispose() };
}

async function manifestOf({ name, path, sizeBytes }: BenchModel): Promise<ModelManifest> {
  const header = await readGgufHeader(fileSource(path));
  return {
    id: name,
    name,
    description: null,
    file: `${name}.gguf`,
    sizeBytes,
    sha256: createHash("sha256")
      .update(await readFile(path))
      .digest("hex"),
    contextLength: specFromGguf(header, path).contextLength,
    parameters: null,
    quantization: null,
    architecture: null,
    license: null,
    capabilities: null,
    createdAt: null,
  };
}
