import { afterEach, describe, expect, it } from "vitest";
import type { RetryPolicy } from "../../../src/model/resuming-stream.ts";
import { fetchSource } from "../../../src/model/source-fetch.ts";
import { type Answer, type FileServer, fileServer, type SeenRequest } from "../../support/file-server.ts";
import { uniformSource } from "../../support/random.ts";

const random = uniformSource(1);
const FILE = Uint8Array.from({ length: 300_000 }, () => random() * 256);
const OTHER = FILE.map((byte) => byte ^ 1);

let server: FileServer;
afterEach(() => server.close());

const waits: number[] = [];
const retry: RetryPolicy = { failuresMax: 3, firstDelayMs: 10, wait: async (ms) => void waits.push(ms) };

async function serve(answer: (request: SeenRequest, index: number) => Partial<Answer>): Promise<string> {
  server = await fileServer((request, index) => ({ body: FILE, ...answer(request, index) }));
  return `${server.origin}/m.gguf`;
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const ranges = () => server.requests.map(({ headers }) => headers.range ?? null);

describe("fetchSource", () => {
  it("reads a file in one request and learns its size", async () => {
    const source = fetchSource(await serve(() => ({ etag: '"a"' })), { retry });
    expect(source.sizeBytes).toBeNull();
    expect(await readAll(await source.open())).toEqual(FILE);
    expect(source.sizeBytes).toBe(FILE.length);
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]!.headers["accept-encoding"]).toBe("identity");
  });

  it.each([1, 299_999, 123_456])("starts at offset %i with a range", async (offset) => {
    const source = fetchSource(await serve(() => ({ etag: '"a"' })), { retry });
    expect(await readAll(await source.open(offset))).toEqual(FILE.subarray(offset));
    expect(source.sizeBytes).toBe(FILE.length);
    expect(ranges()).toEqual([`bytes=${offset}-`]);
  });

  it("skips what a server without ranges sends again", async () => {
    const source = fetchSource(await serve(() => ({ etag: '"a"', ignoresRange: true })), { retry });
    expect(await readAll(await source.open(123_456))).toEqual(FILE.subarray(123_456));
  });

  it("resumes a connection that is cut, again and again, as long as bytes come", async () => {
    const url = await serve((_request, index) =>
      index < 5 ? { etag: '"a"', cutAfterBytes: 50_000 } : { etag: '"a"' },
    );
    const source = fetchSource(url, { retry });
    expect(await readAll(await source.open())).toEqual(FILE);
    expect(ranges()).toEqual([null, ...Array(5).fill(expect.stringMatching(/^bytes=\d+-$/))]);
    expect(server.requests[1]!.headers["if-range"]).toBe('"a"');
  });

  it("resumes where the server ignores ranges, by its Last-Modified", async () => {
    const lastModified = "Sun, 22 Nov 2026 00:00:00 GMT";
    const url = await serve((_request, index) => ({
      lastModified,
      ignoresRange: true,
      ...(index === 0 && { cutAfterBytes: 100_000 }),
    }));
    expect(await readAll(await fetchSource(url, { retry }).open())).toEqual(FILE);
    expect(server.requests[1]!.headers["if-range"]).toBe(lastModified);
  });

  it("never mixes two versions of a file", async () => {
    const url = await serve((_request, index) =>
      index === 0 ? { etag: '"a"', cutAfterBytes: 100_000 } : { etag: '"b"', body: OTHER },
    );
    const read = async () => readAll(await fetchSource(url, { retry }).open());
    await expect(read()).rejects.toMatchObject({
      kind: "unreadable",
      message: expect.stringContaining("it changed on the server"),
    });
  });

  it("does not trust a server that names no version", async () => {
    const url = await serve((_request, index) => (index === 0 ? { cutAfterBytes: 100_000 } : {}));
    const read = async () => readAll(await fetchSource(url, { retry }).open());
    await expect(read()).rejects.toThrow("the server sends neither ETag nor Last-Modified");
  });

  it("takes a later range only from the version it has seen", async () => {
    let etag = '"a"';
    const source = fetchSource(await serve(() => ({ etag })), { retry });
    await (await source.open()).cancel();
    expect(await readAll(await source.open(100))).toEqual(FILE.subarray(100));
    etag = '"b"';
    await expect(source.open(100)).rejects.toThrow("it changed on the server");
    expect((await readAll(await source.open())).length).toBe(FILE.length);
  });

  it("waits longer after each failure in a row, then gives up with the numbers", async () => {
    waits.length = 0;
    const source = fetchSource(await serve(() => ({ status: 503 })), { retry });
    await expect(source.open()).rejects.toMatchObject({
      kind: "unreadable",
      message: expect.stringMatching(/could not be read at byte 0, 3 times in a row: .*answered 503/),
    });
    expect(waits).toEqual([10, 20]);
  });

  it.each([
    [404, "answered 404 Not Found. Check the address."],
    [401, "answered 401 Unauthorized. It may need a token."],
    [403, "It may need a token."],
  ])("does not retry %i", async (status, message) => {
    const source = fetchSource(await serve(() => ({ status })), { retry });
    await expect(source.open()).rejects.toMatchObject({
      kind: "unreadable",
      message: expect.stringContaining(message),
    });
    expect(server.requests).toHaveLength(1);
  });

  it("says so where nobody listens", async () => {
    const url = await serve(() => ({}));
    await server.close();
    await expect(fetchSource(url, { retry }).open()).rejects.toThrow(/3 times in a row: fetch failed \(.*ECONNREFUSED/);
  });

  it("refuses an offset past the end", async () => {
    const source = fetchSource(await serve(() => ({ etag: '"a"' })), { retry });
    await expect(source.open(FILE.length + 1)).rejects.toThrow(`has no bytes from ${FILE.length + 1} on`);
  });

  it("reads to the end where the size is not told", async () => {
    const source = fetchSource(await serve(() => ({ hidesSize: true })), { retry });
    expect(await readAll(await source.open())).toEqual(FILE);
    expect(source.sizeBytes).toBeNull();
  });

  it("lets go of the connection when the reader has enough", async () => {
    const source = fetchSource(await serve(() => ({ etag: '"a"' })), { retry });
    const reader = (await source.open()).getReader();
    expect((await reader.read()).value!.length).toBeGreaterThan(0);
    await reader.cancel();
    expect(server.requests).toHaveLength(1);
  });

  it("makes no new connection for a reader that left while it waited to retry", async () => {
    const url = await serve(() => ({ etag: '"a"', cutAfterBytes: 1000 }));
    let left = () => {};
    const reachedWait = new Promise<void>((resolve) => {
      left = resolve;
    });
    let goOn = () => {};
    const wait = () => {
      left();
      return new Promise<void>((resolve) => {
        goOn = resolve;
      });
    };
    const reader = (await fetchSource(url, { retry: { ...retry, wait } }).open()).getReader();
    expect((await reader.read()).value!.length).toBeGreaterThan(0);
    await reachedWait;
    await reader.cancel();
    goOn();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(server.requests).toHaveLength(1);
  });

  it("sends the headers it is given", async () => {
    const source = fetchSource(await serve(() => ({})), { retry, headers: { authorization: "Bearer t" } });
    await readAll(await source.open());
    expect(server.requests[0]!.headers.authorization).toBe("Bearer t");
  });
});
