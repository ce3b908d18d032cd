import { chunkReader } from "./chunk-reader.ts";

/** The stream without its first `numBytes`: for sources that can only start at the beginning. */
export function skipBytes(stream: ReadableStream<Uint8Array>, numBytes: number): ReadableStream<Uint8Array> {
  if (numBytes === 0) return stream;
  const reader = chunkReader(stream);
  let left = numBytes;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      for (;;) {
        const chunk = await reader.read();
        if (chunk === null) return controller.close();
        const skipped = Math.min(left, chunk.length);
        left -= skipped;
        if (skipped < chunk.length) return controller.enqueue(chunk.subarray(skipped));
      }
    },
    cancel: () => reader.cancel(),
  });
}
