/**
 * Pulls large chunks from any byte stream. Where the stream can fill a buffer it is given (R2, static assets, fetch in
 * workerd), 256 KiB at a time: workerd's default reader hands out 4 KiB, which costs more in promises than in copying.
 */
const CHUNK_BYTES = 256 * 1024;

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
