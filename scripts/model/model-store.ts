/** Where models are kept: the bucket of `wrangler.toml`, local or deployed. */
import type { ModelManifest } from "../../src/model/catalog.ts";

/** As `wrangler.toml` names it. */
export const BUCKET_NAME = "runnel-models";

export interface StoredFile {
  path: string;
  sizeBytes: number;
  /** In hex. */
  sha256: string;
}

export interface ModelStore {
  /** null = there is none by this name. */
  find(id: string): Promise<ModelManifest | null>;
  /** @param warn told of manifests that cannot be read */
  list(warn: (text: string) => void): Promise<ModelManifest[]>;
  /** Stores whole or not at all. @param onProgress bytes handed over so far */
  putFile(key: string, file: StoredFile, onProgress: (doneBytes: number) => void): Promise<void>;
  putManifest(manifest: ModelManifest): Promise<void>;
  /** Nothing happens where there is no such object. */
  delete(key: string): Promise<void>;
  close(): Promise<void>;
}
