/**
 * A temporary folder to run `npm run model` in. The local bucket is the real R2 simulation, opened once for all calls of
 * a test file: opening it takes a second. `spawn` runs the whole command in a process of its own instead.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { main } from "../../../scripts/model/cli.ts";
import { type Environment, PROCESS_HOST } from "../../../scripts/model/host.ts";
import { LocalStore } from "../../../scripts/model/local-store.ts";
import { BUCKET_NAME, type ModelStore } from "../../../scripts/model/model-store.ts";
import type { ModelManifest } from "../../../src/model/catalog.ts";

const ENTRY = resolve(import.meta.dirname, "../../../scripts/model.mjs");

/** Opening a bucket starts workerd: a second on an idle machine, many on one that runs all tests at once. */
export const BUCKET_TIMEOUT_MS = 240_000;

export interface Run {
  /** null = killed. */
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export class Workplace {
  readonly folder = mkdtempSync(join(tmpdir(), "runnel-model-cli-"));
  readonly persistTo = join(this.folder, "state");
  readonly downloads = join(this.folder, "model-downloads");
  #store: LocalStore | null = null;
  #worker: Miniflare | null = null;

  async model(args: string[], env: Environment = {}): Promise<Run> {
    const run: Run = { exitCode: null, stdout: "", stderr: "" };
    run.exitCode = await main([...args, "--persist-to", this.persistTo], {
      ...PROCESS_HOST,
      env: { INIT_CWD: this.folder, ...env },
      print: (text) => {
        run.stdout += `${text}\n`;
      },
      warn: (text) => {
        run.stderr += `${text}\n`;
      },
      progressScreen: {
        write: (text) => {
          run.stderr += text;
        },
      },
      openLocal: async () => keptOpen(await this.store()),
    });
    return run;
  }

  /** @param onStderr sees what is written so far, and may end the process with all that it started */
  spawn(args: string[], onStderr?: (text: string, kill: () => void) => void): Promise<Run> {
    const child = spawn(process.execPath, [ENTRY, ...args, "--persist-to", this.persistTo], {
      cwd: this.folder,
      env: { ...process.env, INIT_CWD: this.folder, MEMORY_BUDGET_BYTES: undefined },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own: the workerd behind the bucket does not end with a parent that is killed.
      detached: true,
    });
    const kill = () => process.kill(-child.pid!, "SIGKILL");
    const run: Run = { exitCode: null, stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      run.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      run.stderr += text;
      onStderr?.(run.stderr, kill);
    });
    return new Promise((done, failed) => {
      child.on("error", failed);
      child.on("close", (exitCode) => done({ ...run, exitCode }));
    });
  }

  async store(): Promise<LocalStore> {
    this.#store ??= await LocalStore.open(this.persistTo);
    return this.#store;
  }

  /** The bucket as a Worker that runs meanwhile sees it: another process on the same folder. */
  async bucket(): Promise<R2Bucket> {
    this.#worker ??= new Miniflare(
      convertV4MiniflareOptions({
        modules: true,
        script: "export default {}",
        r2Buckets: { MODELS: BUCKET_NAME },
        resourcePersistencePath: join(this.persistTo, "v3"),
      }),
    );
    return (await this.#worker.getR2Bucket("MODELS")) as unknown as R2Bucket;
  }

  async keys(): Promise<string[]> {
    const { objects } = await (await this.bucket()).list();
    return objects.map(({ key }) => key).sort();
  }

  /** Manifests of what was added. */
  async added(): Promise<ModelManifest[]> {
    const bucket = await this.bucket();
    const manifests = (await this.keys()).filter((key) => key.endsWith(".json"));
    return Promise.all(manifests.map(async (key) => (await (await bucket.get(key))!.json()) as ModelManifest));
  }

  /** Empties the bucket, so that tests do not see each other's models. */
  async clear(): Promise<void> {
    await (await this.bucket()).delete(await this.keys());
  }

  async dispose(): Promise<void> {
    await this.#store?.close();
    await this.#worker?.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The same store, which outlives the command. */
function keptOpen(store: ModelStore): ModelStore {
  return {
    find: (id) => store.find(id),
    list: (warn) => store.list(warn),
    putFile: (key, file, onProgress) => store.putFile(key, file, onProgress),
    putManifest: (manifest) => store.putManifest(manifest),
    delete: (key) => store.delete(key),
    close: async () => undefined,
  };
}
