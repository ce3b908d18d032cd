/** A model in a file: for hosts with a file system. */
import { createReadStream, statSync } from "node:fs";
import { Readable } from "node:stream";
import type { ByteSource } from "./byte-source.ts";
import { ModelError } from "./errors.ts";

const CHUNK_BYTES = 1 << 20;

/** @throws ModelError where it is not a readable file */
export function fileSource(path: string): ByteSource {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isFile()) return openFile(path, stats.size);
  const what = stats === undefined ? `There is no file ${path}.` : `${path} is not a file.`;
  throw new ModelError("unreadable", `${what} Name a .gguf file.`);
}

/** @param sizeBytes of the file, which is known to exist */
export function openFile(path: string, sizeBytes: number): ByteSource {
  return {
    name: path,
    sizeBytes,
    async open(offsetBytes = 0) {
      const file = createReadStream(path, { start: offsetBytes, highWaterMark: CHUNK_BYTES });
      return Readable.toWeb(file) as unknown as ReadableStream<Uint8Array>;
    },
  };
}
