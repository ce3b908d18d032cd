/** Against the real R2 simulation that `wrangler dev` runs. */
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readGguf, tensorPieces } from "../../../src/model/gguf-reader.ts";
import type { RetryPolicy } from "../../../src/model/resuming-stream.ts";
import { r2Source } from "../../../src/model/source-r2.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";

const KEY = "models/tiny.gguf";
const MODEL = tinyModelBytes();
const retry: RetryPolicy = { failuresMax: 3, firstDelayMs: 1, wait: async () => undefined };

let miniflare: Miniflare;
let bucket: R2Bucket;

beforeAll(async () => {
  miniflare = new Miniflare(
    convertV4MiniflareOptions({ modules: true, script: "export default {}", r2Buckets: ["MODELS"] }),
  );
  bucket = (await miniflare.getR2Bucket("MODELS")) as unknown as R2Bucket;
  await bucket.put(KEY, MODEL);
}, 240_000);
afterAll(() => miniflare.dispose());

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The bucket with some of its streams broken after `numBytes`. */
function breaking(numBytes: number, isBroken: (call: number) => boolean): R2Bucket {
  let numCalls = 0;
  const get = async (key: string, options: R2GetOptions) => {
    const object = await bucket.get(key, options);
    if (object === null || !("body" in object) || !isBroken(numCalls++)) return object;
    const whole = await readAll(object.body as ReadableStream<Uint8Array>);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(whole.subarray(0, numBytes)),
      pull: (controller) => controller.error(new Error("Network connection lost.")),
    });
    return { ...object, etag: object.etag, size: object.size, body };
  };
  return { get } as unknown as R2Bucket;
}

describe("r2Source", () => {
  it("reads a model through the GGUF reader", async () => {
    const source = r2Source(bucket, KEY, retry);
    const { header, data } = await readGguf(source);
    expect(source.sizeBytes).toBe(MODEL.length);
    let numBytes = 0;
    for await (const piece of tensorPieces(header, data)) numBytes += piece.bytes.length;
    expect(numBytes).toBe(header.tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  });

  it("starts at an offset", async () => {
    expect(await readAll(await r2Source(bucket, KEY, retry).open(1000))).toEqual(MODEL.subarray(1000));
  });

  it("resumes a read that breaks off", async () => {
    const source = r2Source(
      breaking(50_000, (call) => call < 3),
      KEY,
      retry,
    );
    expect(await readAll(await source.open())).toEqual(MODEL);
  });

  it("gives up after failures in a row", async () => {
    const source = r2Source(
      breaking(0, () => true),
      KEY,
      retry,
    );
    const read = async () => readAll(await source.open());
    await expect(read()).rejects.toThrow(`r2:${KEY} could not be read at byte 0 of ${MODEL.length}, 3 times in a row`);
  });

  it("does not continue in an object that was replaced", async () => {
    await bucket.put("models/changing.gguf", MODEL);
    const source = r2Source(bucket, "models/changing.gguf", retry);
    await (await source.open()).cancel();
    await bucket.put("models/changing.gguf", MODEL.subarray(0, 5000));
    await expect(source.open(100)).rejects.toMatchObject({
      kind: "unreadable",
      message: expect.stringContaining("was replaced while it was read"),
    });
  });

  it("says what does not exist", async () => {
    await expect(r2Source(bucket, "models/none.gguf", retry).open()).rejects.toThrow(
      "r2:models/none.gguf does not exist.",
    );
  });
});
