/**
 * The deployed bucket, through wrangler and its login. wrangler uploads at most 300 MiB in one object (its
 * MAX_UPLOAD_SIZE), which is above what an isolate can hold; a larger file is refused before anything is sent.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelManifest, manifestKey, parseManifest } from "../../src/model/catalog.ts";
import { CommandError, UsageError } from "./errors.ts";
import { BUCKET_NAME, type ModelStore, type StoredFile } from "./model-store.ts";
import { ROOT } from "./paths.ts";
import { deleteArgs, getArgs, putArgs } from "./wrangler-args.ts";

export const WRANGLER_UPLOAD_BYTES_MAX = 300 * 1024 * 1024;

const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

interface WranglerResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export class RemoteStore implements ModelStore {
  async find(id: string): Promise<ModelManifest | null> {
    const result = await wrangler(getArgs(manifestKey(id)));
    if (result.exitCode === 0) return parseManifest(result.stdout, manifestKey(id));
    if (/key does not exist/i.test(result.stdout + result.stderr)) return null;
    throw failed("read the bucket", result);
  }

  list(): Promise<ModelManifest[]> {
    throw new UsageError("wrangler cannot list a bucket.");
  }

  async putFile(key: string, file: StoredFile, onProgress: (doneBytes: number) => void): Promise<void> {
    if (file.sizeBytes > WRANGLER_UPLOAD_BYTES_MAX) throw tooLargeForWrangler(file, key);
    const result = await wrangler(putArgs(key, file.path, "application/octet-stream"));
    if (result.exitCode !== 0) throw failed(`upload ${file.path}`, result);
    onProgress(file.sizeBytes);
  }

  async putManifest(manifest: ModelManifest): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "runnel-manifest-"));
    try {
      const path = join(folder, "manifest.json");
      await writeFile(path, JSON.stringify(manifest, null, 2));
      const result = await wrangler(putArgs(manifestKey(manifest.id), path, "application/json"));
      if (result.exitCode !== 0) throw failed("upload the manifest", result);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  async delete(key: string): Promise<void> {
    const result = await wrangler(deleteArgs(key));
    if (result.exitCode !== 0) throw failed(`delete ${key}`, result);
  }

  async close(): Promise<void> {}
}

function tooLargeForWrangler(file: StoredFile, key: string): CommandError {
  return new CommandError(
    `${file.path} has ${file.sizeBytes} bytes; wrangler uploads at most ${WRANGLER_UPLOAD_BYTES_MAX}. Use a smaller ` +
      `quantization, or upload it as ${BUCKET_NAME}/${key} with an S3 client.`,
  );
}

/** wrangler says what is wrong (not logged in, no such bucket) better than we could. */
function failed(what: string, { exitCode, stdout, stderr }: WranglerResult): CommandError {
  const said = [stderr.trim(), stdout.trim()].filter((text) => text !== "").join("\n");
  return new CommandError(`wrangler could not ${what} (exit code ${exitCode}):\n${said}`);
}

function wrangler(args: string[]): Promise<WranglerResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WRANGLER, ...args], {
      cwd: ROOT,
      env: { WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", ...process.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const said = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said.stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ exitCode: code ?? 1, ...said }));
  });
}
