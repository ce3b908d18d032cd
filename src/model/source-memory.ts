/** A model that is in memory already: tests, and small files that came whole. */
import type { ByteSource } from "./byte-source.ts";

/** @param chunkBytes size of the chunks handed out; they are views of `bytes`, not copies */
export function memorySource(bytes: Uint8Array, name: string, chunkBytes: number = 1 << 20): ByteSource {
  return {
    name,
    sizeBytes: bytes.length,
    async open(offsetBytes = 0) {
      let at = offsetBytes;
      return new ReadableStream<Uint8Array>({
        pull(controller) {
          if (at >= bytes.length) {
            controller.close();
            return;
          }
          controller.enqueue(bytes.subarray(at, at + chunkBytes));
          at += chunkBytes;
        },
      });
    },
  };
}
