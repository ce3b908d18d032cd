import { createHash } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Answer, type FileServer, fileServer, type SeenRequest } from "../../support/file-server.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";
import { BUCKET_TIMEOUT_MS, Workplace } from "./workplace.ts";

/** Over 1 MB, so that a connection can break in the weights. */
const MODEL = tinyModelBytes({ dModel: 128, ffnDim: 256 });
const OTHER = tinyModelBytes({ dModel: 128, ffnDim: 256, seed: 2 });

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let place: Workplace;
let server: FileServer;
beforeAll(() => {
  place = new Workplace();
});
afterAll(() => place.dispose(), BUCKET_TIMEOUT_MS);
afterEach(async () => {
  await server.close();
  await place.clear();
}, BUCKET_TIMEOUT_MS);

async function serve(answer: (request: SeenRequest, index: number) => Partial<Answer>): Promise<string> {
  server = await fileServer((request, index) => ({ body: MODEL, etag: '"v1"', ...answer(request, index) }));
  return `${server.origin}/files/m.gguf`;
}

const leftovers = () => readdirSync(place.downloads);
const A_RANGE = expect.stringMatching(/^bytes=[1-9]\d*-$/);
const ranges = () => server.requests.map(({ headers }) => headers.range ?? null);

describe("add from an address", { timeout: BUCKET_TIMEOUT_MS }, () => {
  it("checks the header, downloads, and leaves nothing but the model", async () => {
    const run = await place.model(["add", await serve(() => ({}))]);
    expect(run).toMatchObject({ exitCode: 0 });
    expect(run.stderr).toContain("downloading 100%");
    expect(await place.added()).toMatchObject([{ id: "m", sizeBytes: MODEL.length }]);
    expect(leftovers()).toEqual([]);
  });

  it("goes on after a connection that is cut, where it was cut", async () => {
    const url = await serve((_request, index) => (index === 1 || index === 2 ? { cutAfterBytes: 400_000 } : {}));
    expect(await place.model(["add", url])).toMatchObject({ exitCode: 0 });
    // The header, the download, and two resumptions.
    expect(ranges()).toEqual([null, null, A_RANGE, A_RANGE]);
    expect(await place.added()).toMatchObject([{ sha256: sha256(MODEL) }]);
  });

  it("gets the whole from a server that ignores ranges", async () => {
    const url = await serve((_request, index) => ({
      ignoresRange: true,
      ...(index === 1 && { cutAfterBytes: 400_000 }),
    }));
    expect(await place.model(["add", url])).toMatchObject({ exitCode: 0 });
    expect(await place.added()).toMatchObject([{ sha256: sha256(MODEL) }]);
  });

  it("resumes what an earlier run left, if the server still has that version", async () => {
    const url = await serve((_request, index) =>
      index === 1 ? { cutAfterBytes: 600_000 } : index > 1 ? { status: 404 } : {},
    );
    const failed = await place.model(["add", url]);
    expect(failed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("answered 404") });
    expect(leftovers()).toHaveLength(2);
    await server.close();

    const port = new URL(url).port;
    server = await fileServer(() => ({ body: MODEL, etag: '"v1"' }), Number(port));
    expect(await place.model(["add", url])).toMatchObject({ exitCode: 0 });
    expect(ranges()).toEqual([null, A_RANGE]);
    expect(await place.added()).toMatchObject([{ sha256: sha256(MODEL) }]);
    expect(leftovers()).toEqual([]);
  });

  it("starts again where the server has another version meanwhile", async () => {
    const url = await serve((_request, index) =>
      index === 1 ? { cutAfterBytes: 600_000 } : index > 1 ? { status: 404 } : {},
    );
    expect((await place.model(["add", url])).exitCode).toBe(1);
    await server.close();
    server = await fileServer(() => ({ body: OTHER, etag: '"v2"' }), Number(new URL(url).port));
    expect(await place.model(["add", url])).toMatchObject({ exitCode: 0 });
    expect(ranges()).toEqual([null, null]);
    expect(await place.added()).toMatchObject([{ sha256: sha256(OTHER) }]);
  });

  it("never joins two versions within one download", async () => {
    const url = await serve((_request, index) =>
      index === 1 ? { cutAfterBytes: 600_000 } : index > 1 ? { etag: '"v2"', body: OTHER } : {},
    );
    const run = await place.model(["add", url]);
    expect(run).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("it changed on the server while it was read"),
    });
    expect(await place.added()).toEqual([]);
  });

  it("follows redirects", async () => {
    const url = await serve(({ path }) => (path === "/files/m.gguf" ? { location: "/elsewhere" } : {}));
    expect(await place.model(["add", url])).toMatchObject({ exitCode: 0 });
  });

  it.each<[string, Partial<Answer>, string]>([
    [
      "a page instead of a model",
      { body: new TextEncoder().encode("<!doctype html>"), contentType: "text/html" },
      "like a web page",
    ],
    ["nothing", { status: 404 }, "answered 404 Not Found. Check the address."],
    ["a truncated model", { body: MODEL.subarray(0, MODEL.length - 1000) }, "is truncated"],
  ])("refuses %s", async (_case, answer, message) => {
    const run = await place.model(["add", await serve(() => answer)]);
    expect(run).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(message) });
    expect(run.stderr).not.toContain("downloading");
    expect(server.requests).toHaveLength(1);
  });

  it("says so where nobody listens", async () => {
    const url = await serve(() => ({}));
    await server.close();
    const run = await place.model(["add", url]);
    expect(run).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("ECONNREFUSED") });
  });

  it("does not take a file for a downloaded one", async () => {
    writeFileSync(join(place.folder, "m.gguf"), MODEL);
    await serve(() => ({}));
    expect(await place.model(["add", "m.gguf"])).toMatchObject({ exitCode: 0 });
    expect(server.requests).toEqual([]);
  });
});

describe("add from Hugging Face", { timeout: BUCKET_TIMEOUT_MS }, () => {
  const env = () => ({ HF_ENDPOINT: server.origin, HF_TOKEN: "hf_secret" });

  it("asks the repository's file, with the token, and sends it to no other host", async () => {
    await serve(() => ({}));
    const storage = await fileServer(() => ({ body: MODEL, etag: '"v1"' }));
    try {
      const hub = server;
      server = await fileServer(() => ({ body: MODEL, location: `${storage.origin}/signed?x=1` }));
      await hub.close();
      const run = await place.model(["add", "hf:org/repo/sub/m.gguf"], env());
      expect(run).toMatchObject({ exitCode: 0 });
      expect(server.requests.map(({ path }) => path)).toEqual(Array(2).fill("/org/repo/resolve/main/sub/m.gguf"));
      expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(Array(2).fill("Bearer hf_secret"));
      expect(storage.requests).toHaveLength(2);
      expect(storage.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    } finally {
      await storage.close();
    }
  });

  it("hints at the token where access is denied, and never prints it", async () => {
    await serve(() => ({ status: 401 }));
    const without = await place.model(["add", "hf:org/repo/m.gguf"], { HF_ENDPOINT: server.origin });
    expect(without).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("or set HF_TOKEN.") });
    const denied = await place.model(["add", "hf:org/repo/m.gguf"], env());
    expect(denied.stderr).toContain("see whether HF_TOKEN may read it");
    expect(denied.stderr + denied.stdout).not.toContain("hf_secret");
  });
});
