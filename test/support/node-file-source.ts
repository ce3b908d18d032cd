/** A file on disk as a byte source, for tests and scripts that run in Node. */
import { createReadStream, statSync } from "node:fs";
import { Readable } from "node:stream";
import type { ByteSource } from "../../src/model/byte-source.ts";

export function nodeFileSource(path: string): ByteSource {
  return {
    name: path,
    sizeBytes: statSync(path).size,
    async open(offsetBytes = 0) {
      const file = createReadStream(path, { start: offsetBytes, highWaterMark: 1 << 20 });
      return Readable.toWeb(file) as unknown as ReadableStream<Uint8Array>;
    },
  };
}
