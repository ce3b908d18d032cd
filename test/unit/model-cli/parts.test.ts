import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { fileSource } from "../../../scripts/model/file-source.ts";
import { BUCKET_NAME } from "../../../scripts/model/model-store.ts";
import { formatBytes, Progress } from "../../../scripts/model/progress.ts";
import { RemoteStore, WRANGLER_UPLOAD_BYTES_MAX } from "../../../scripts/model/remote-store.ts";
import { parseSource } from "../../../scripts/model/source.ts";
import { deleteArgs, getArgs, putArgs } from "../../../scripts/model/wrangler-args.ts";

describe("sources", () => {
  it("reads hf: as an address of the hub, with the token", () => {
    expect(parseSource("hf:org/repo/a b/m.gguf", { HF_TOKEN: "t" })).toEqual({
      kind: "url",
      url: "https://huggingface.co/org/repo/resolve/main/a%20b/m.gguf",
      fileName: "m.gguf",
      headers: { authorization: "Bearer t" },
      isHuggingFace: true,
    });
  });

  it("sends the token to the hub's own addresses and to no others", () => {
    const env = { HF_TOKEN: "t" };
    expect(parseSource("https://huggingface.co/o/r/resolve/main/m.gguf", env)).toMatchObject({
      headers: { authorization: "Bearer t" },
    });
    for (const url of [
      "https://example.com/m.gguf",
      "https://huggingface.co.evil.com/m.gguf",
      "http://huggingface.co/m.gguf",
    ]) {
      expect(parseSource(url, env), url).toMatchObject({ headers: {}, isHuggingFace: false });
    }
  });

  it("takes a mirror with or without a slash at the end", () => {
    for (const HF_ENDPOINT of ["https://mirror.example", "https://mirror.example/"]) {
      expect(parseSource("hf:o/r/m.gguf", { HF_ENDPOINT })).toMatchObject({
        url: "https://mirror.example/o/r/resolve/main/m.gguf",
        isHuggingFace: true,
      });
    }
  });

  it("takes everything else for a file", () => {
    expect(parseSource("/a/b.gguf", {})).toEqual({ kind: "file", path: "/a/b.gguf", fileName: "b.gguf" });
    expect(parseSource("C.gguf", {})).toMatchObject({ kind: "file", path: expect.stringMatching(/\/C\.gguf$/) });
  });

  it("refuses a folder", () => {
    expect(() => fileSource(import.meta.dirname)).toThrow("is not a file");
  });
});

describe("the deployed bucket", () => {
  it("is the one that wrangler.toml binds", () => {
    const toml = readFileSync(resolve(import.meta.dirname, "../../../wrangler.toml"), "utf8");
    expect(/bucket_name = "([^"]+)"/.exec(toml)?.[1]).toBe(BUCKET_NAME);
  });

  it("is reached by wrangler with these arguments", () => {
    expect(putArgs("models/m.gguf", "/tmp/my model.gguf", "application/octet-stream")).toEqual([
      ...["r2", "object", "put", "runnel-models/models/m.gguf"],
      ...["--file", "/tmp/my model.gguf", "--content-type", "application/octet-stream", "--remote"],
    ]);
    expect(getArgs("models/m.json")).toEqual([
      "r2",
      "object",
      "get",
      "runnel-models/models/m.json",
      "--pipe",
      "--remote",
    ]);
    expect(deleteArgs("models/m.json")).toEqual(["r2", "object", "delete", "runnel-models/models/m.json", "--remote"]);
  });

  it("takes no file over wrangler's limit, and says what to do", async () => {
    const file = { path: "m.gguf", sizeBytes: WRANGLER_UPLOAD_BYTES_MAX + 1, sha256: "0".repeat(64) };
    await expect(new RemoteStore().putFile("models/m.gguf", file, () => undefined)).rejects.toThrow(
      /m\.gguf has 314572801 bytes; wrangler uploads at most 314572800\..*runnel-models\/models\/m\.gguf with an S3 client/,
    );
  });
});

describe("progress", () => {
  function screen(isTTY: boolean) {
    const written: string[] = [];
    return { isTTY, written, write: (text: string) => void written.push(text) };
  }

  it("says every tenth once where there is no terminal", () => {
    const lines = screen(false);
    const progress = new Progress("copying", 1000, { progressScreen: lines, nowMs: () => 0 });
    for (let done = 0; done <= 1000; done += 50) progress.update(done);
    progress.end();
    expect(lines.written).toEqual(Array.from({ length: 11 }, (_, i) => `copying ${i * 10}% of 1.0 kB\n`));
  });

  it("draws a bar on a terminal, ten times a second, and its end", () => {
    const terminal = screen(true);
    let nowMs = 0;
    const progress = new Progress("copying", 2_000_000, { progressScreen: terminal, nowMs: () => nowMs });
    progress.update(0);
    progress.update(1000);
    nowMs = 1000;
    progress.update(1_000_000);
    nowMs = 1010;
    progress.update(2_000_000);
    progress.end();
    expect(terminal.written).toEqual([
      `\rcopying ${"░".repeat(24)}  0%  0 B of 2.0 MB\u001b[K`,
      `\rcopying ${"█".repeat(12)}${"░".repeat(12)} 50%  1.0 MB of 2.0 MB  1.0 MB/s\u001b[K`,
      `\rcopying ${"█".repeat(24)}100%  2.0 MB of 2.0 MB  2.0 MB/s\u001b[K`,
      "\n",
    ]);
  });

  it("shows only what is done where the size is unknown", () => {
    const terminal = screen(true);
    const progress = new Progress("downloading", null, { progressScreen: terminal, nowMs: () => 0 });
    progress.update(5_000_000);
    expect(terminal.written).toEqual(["\rdownloading 5.0 MB\u001b[K"]);
    const lines = screen(false);
    new Progress("downloading", null, { progressScreen: lines, nowMs: () => 0 }).update(5_000_000);
    expect(lines.written).toEqual([]);
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1500, "1.5 kB"],
    [91_700_000, "91.7 MB"],
    [2_340_000_000, "2.34 GB"],
  ])("%i bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});
