/** A file on disk as a byte source. */
import { createReadStream, statSync } from "node:fs";
import { Readable } from "node:stream";
import type { ByteSource } from "../../src/model/byte-source.ts";
import { CommandError } from "./errors.ts";

/** @throws CommandError where it is not a readable file */
export function fileSource(path: string): ByteSource {
  return {
    name: path,
    sizeBytes: fileSize(path),
    async open(offsetBytes = 0) {
      const file = createReadStream(path, { start: offsetBytes, highWaterMark: 1 << 20 });
      return Readable.toWeb(file) as unknown as ReadableStream<Uint8Array>;
    },
  };
}

export function fileSize(path: string): number {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw new CommandError(`There is no file ${path}.`);
  if (!stats.isFile()) throw new CommandError(`${path} is not a file. Name the .gguf file itself.`);
  return stats.size;
}
