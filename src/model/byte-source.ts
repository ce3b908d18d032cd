/**
 * Where a model's bytes come from: static asset, R2 object, HTTP, file, memory. The reader takes one forward pass, so a
 * source only has to stream; weights go from the stream into linear memory with no second copy.
 */
export interface ByteSource {
  /** For messages: a path, key or URL. */
  readonly name: string;
  /** Whole size in bytes, or null where the source does not say. */
  readonly sizeBytes: number | null;
  /** A fresh stream from `offsetBytes` to the end. Throws `ModelError("unreadable", …)` when the source is gone. */
  open(offsetBytes?: number): Promise<ReadableStream<Uint8Array>>;
}
