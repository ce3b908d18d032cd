/**
 * Pulls large chunks from any byte stream. Where the stream can fill a buffer it is given (R2, static assets, fetch),
 * it is given 64 KiB: workerd's default reader hands out 4 KiB at a time, and reading 64 MB from the R2 simulation took
 * 1.8 s that way against 0.3 s this way. Its pipes fill no more than 64 KiB of a buffer, so a larger one is garbage.
 */
const CHUNK_BYTES = 64 * 1024;

export interface ChunkReader {
  /** Next chunk, never empty; null at the end. The chunk belongs to the caller. */
  read(): Promise<Uint8Array | null>;
  /** Ends the stream early. Safe at any time. */
  cancel(): Promise<void>;
}

export function chunkReader(stream: ReadableStream<Uint8Array>): ChunkReader {
  const byob = byobReader(stream);
  const reader = byob ?? stream.getReader();
  return {
    async read() {
      for (;;) {
        const { done, value } =
          byob === null
            ? await (reader as ReadableStreamDefaultReader<Uint8Array>).read()
            : await byob.read(new Uint8Array(CHUNK_BYTES));
        if (done) return null;
        if (value.length > 0) return value;
      }
    },
    async cancel() {
      await reader.cancel().catch(() => undefined);
    },
  };
}

function byobReader(stream: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | null {
  try {
    return stream.getReader({ mode: "byob" });
  } catch {
    return null;
  }
}
