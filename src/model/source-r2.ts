/** A model in an R2 bucket. A read that breaks off is resumed at the same version of the object, by its ETag. */
import type { ByteSource } from "./byte-source.ts";
import { ModelError } from "./errors.ts";
import { DEFAULT_RETRY, openResuming, type RetryPolicy } from "./resuming-stream.ts";

export function r2Source(bucket: R2Bucket, key: string, retry: RetryPolicy = DEFAULT_RETRY): ByteSource {
  const name = `r2:${key}`;
  let known: { etag: string; sizeBytes: number } | null = null;

  async function openAt(offsetBytes: number, etag: string | null) {
    const object = await bucket.get(key, {
      ...(offsetBytes > 0 && { range: { offset: offsetBytes } }),
      ...(etag !== null && { onlyIf: { etagMatches: etag } }),
    });
    if (object === null) throw new ModelError("unreadable", `${name} does not exist.`);
    if (!("body" in object)) {
      throw new ModelError("unreadable", `${name} was replaced while it was read. Load it again.`);
    }
    return object;
  }

  return {
    name,
    get sizeBytes() {
      return known?.sizeBytes ?? null;
    },
    async open(offsetBytes = 0) {
      let etag = offsetBytes === 0 ? null : (known?.etag ?? null);
      const resumable = {
        name,
        async openAt(atBytes: number) {
          const object = await openAt(atBytes, etag);
          etag = object.etag;
          known = { etag: object.etag, sizeBytes: object.size };
          return object.body as ReadableStream<Uint8Array>;
        },
        sizeBytes: () => known?.sizeBytes ?? null,
      };
      return openResuming(resumable, offsetBytes, retry);
    },
  };
}
