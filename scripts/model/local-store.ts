/**
 * The local bucket: the R2 simulation that `wrangler dev` serves from, opened on the same folder. A running server sees
 * a new model within seconds. A file goes in as one stream with its SHA-256, so it is stored whole or not at all, and
 * neither this process nor the simulation holds it in memory.
 */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import {
  idOfManifestKey,
  MODELS_PREFIX,
  type ModelManifest,
  manifestKey,
  parseManifest,
} from "../../src/model/catalog.ts";
import { ModelError } from "../../src/model/errors.ts";
import { CommandError } from "./errors.ts";
import { BUCKET_NAME, type ModelStore, type StoredFile } from "./model-store.ts";

/** Runs beside the bucket: a put over the object proxy would need the file in memory. */
const PUT_WORKER = `export default {
  async fetch(request, env) {
    const { key, sha256 } = Object.fromEntries(new URL(request.url).searchParams);
    try {
      const object = await env.MODELS.put(key, request.body, { sha256 });
      return Response.json({ sizeBytes: object.size });
    } catch (error) {
      return new Response(error.message, { status: 500 });
    }
  },
};`;

type Bucket = Awaited<ReturnType<Miniflare["getR2Bucket"]>>;

export class LocalStore implements ModelStore {
  readonly #miniflare: Miniflare;
  readonly #bucket: Bucket;

  private constructor(miniflare: Miniflare, bucket: Bucket) {
    this.#miniflare = miniflare;
    this.#bucket = bucket;
  }

  /** @param persistTo as given to `wrangler dev --persist-to` */
  static async open(persistTo: string): Promise<LocalStore> {
    const options = convertV4MiniflareOptions({
      modules: true,
      script: PUT_WORKER,
      compatibilityDate: "2026-11-09",
      r2Buckets: { MODELS: BUCKET_NAME },
      // wrangler adds the version of its layout.
      resourcePersistencePath: join(persistTo, "v3"),
      cf: false,
    });
    const miniflare = new Miniflare(options);
    try {
      return new LocalStore(miniflare, await miniflare.getR2Bucket("MODELS"));
    } catch (cause) {
      await miniflare.dispose();
      throw new CommandError(`The local bucket in ${persistTo} cannot be opened: ${String(cause)}`, { cause });
    }
  }

  async find(id: string): Promise<ModelManifest | null> {
    const object = await this.#bucket.get(manifestKey(id));
    return object === null ? null : parseManifest(await object.text(), manifestKey(id));
  }

  async list(warn: (text: string) => void): Promise<ModelManifest[]> {
    const manifests: ModelManifest[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.#bucket.list({ prefix: MODELS_PREFIX, ...(cursor !== undefined && { cursor }) });
      for (const { key } of page.objects) {
        const id = idOfManifestKey(key);
        const manifest = id === null ? null : await this.#findReadable(id, warn);
        if (manifest !== null) manifests.push(manifest);
      }
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
    return manifests;
  }

  async putFile(key: string, file: StoredFile, onProgress: (doneBytes: number) => void): Promise<void> {
    let doneBytes = 0;
    const source = createReadStream(file.path, { highWaterMark: 1 << 20 });
    source.on("data", (chunk) => {
      doneBytes += chunk.length;
      onProgress(doneBytes);
    });
    const response = await this.#miniflare.dispatchFetch(
      `http://local/?${new URLSearchParams({ key, sha256: file.sha256 })}`,
      {
        method: "PUT",
        body: Readable.toWeb(source) as never,
        duplex: "half",
        headers: { "content-length": String(file.sizeBytes) },
      },
    );
    const text = await response.text();
    if (!response.ok) throw new CommandError(`${file.path} could not be stored: ${text}`);
  }

  async putManifest(manifest: ModelManifest): Promise<void> {
    await this.#bucket.put(manifestKey(manifest.id), JSON.stringify(manifest, null, 2), {
      httpMetadata: { contentType: "application/json" },
    });
  }

  async delete(key: string): Promise<void> {
    await this.#bucket.delete(key);
  }

  async close(): Promise<void> {
    await this.#miniflare.dispose();
  }

  /** One broken manifest must not hide the others. */
  async #findReadable(id: string, warn: (text: string) => void): Promise<ModelManifest | null> {
    try {
      return await this.find(id);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      warn(`model: left out: ${error.message}`);
      return null;
    }
  }
}
