import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { embeddedModels } from "../../../scripts/model/embedded.ts";
import { listText } from "../../../scripts/model/list.ts";
import { type ModelManifest, modelFileKey } from "../../../src/model/catalog.ts";
import { u32 } from "../../support/gguf-writer.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";
import { BUCKET_TIMEOUT_MS, Workplace } from "./workplace.ts";

const SMALL = tinyModelBytes({ name: "Small one" });
const OTHER = tinyModelBytes({ seed: 2, weightType: "Q8_0" });
/** 17 MB: enough chunks to be interrupted between two. */
const LARGE = tinyModelBytes({ dModel: 256, numLayers: 4, ffnDim: 1024 });

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let place: Workplace;
beforeAll(() => {
  place = new Workplace();
  writeFileSync(join(place.folder, "small.gguf"), SMALL);
  writeFileSync(join(place.folder, "other.gguf"), OTHER);
  writeFileSync(join(place.folder, "large.gguf"), LARGE);
});
afterEach(() => place.clear(), BUCKET_TIMEOUT_MS);
afterAll(() => place.dispose(), BUCKET_TIMEOUT_MS);

describe("the whole command", { timeout: BUCKET_TIMEOUT_MS }, () => {
  it("adds a model that the Worker finds whole, lists it, and removes it with its file", async () => {
    const add = await place.spawn(["add", "small.gguf", "--name", "team/small"]);
    expect(add).toMatchObject({ exitCode: 0 });
    expect(add.stdout).toContain("Small one · llama · 0.1 M parameters · F32 (F32×20)");
    expect(add.stdout).toContain("Its whole context of 256 tokens fits.");
    expect(add.stdout).toContain("Added team/small.");
    expect(add.stderr).toContain("copying 100% of 334.6 kB");

    const [manifest] = await place.added();
    expect(manifest).toMatchObject({
      id: "team/small",
      name: "Small one",
      file: `team/small.${sha256(SMALL).slice(0, 12)}.gguf`,
      sizeBytes: SMALL.length,
      sha256: sha256(SMALL),
      contextLength: 256,
      quantization: "F32",
      architecture: "llama",
      capabilities: ["completion"],
    });
    const stored = await (await place.bucket()).get(modelFileKey(manifest!));
    expect(sha256(new Uint8Array(await stored!.arrayBuffer()))).toBe(sha256(SMALL));

    const list = await place.spawn(["list"]);
    expect(list.stdout).toMatch(/^team\/small +334\.6 kB +F32 +0\.1 M +256 +\d{4}-\d\d-\d\d$/m);

    expect(await place.spawn(["remove", "team/small"])).toMatchObject({ exitCode: 0, stdout: "Removed team/small.\n" });
    expect(await place.keys()).toEqual([]);
  });

  it("lists nothing of a model whose copy was interrupted, and can add it again", async () => {
    const killed = await place.spawn(["add", "large.gguf"], (text, kill) => {
      if (text.includes("copying")) kill();
    });
    expect(killed.exitCode).toBeNull();
    expect(await place.added()).toEqual([]);
    expect(await place.model(["add", "large.gguf"])).toMatchObject({ exitCode: 0 });
    expect(await place.added()).toMatchObject([{ id: "large", sha256: sha256(LARGE) }]);
  });
});

describe("add, list and remove", { timeout: BUCKET_TIMEOUT_MS }, () => {
  it("replaces a model only when told to, and leaves nothing of the old one", async () => {
    expect(await place.model(["add", "small.gguf", "--name", "m"])).toMatchObject({ exitCode: 0 });
    const refused = await place.model(["add", "other.gguf", "--name", "m"]);
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("There is a model 'm' already") });
    expect(await place.keys()).toEqual([`models/m.${sha256(SMALL).slice(0, 12)}.gguf`, "models/m.json"]);

    expect(await place.model(["add", "other.gguf", "--name", "m", "--replace"])).toMatchObject({ exitCode: 0 });
    expect(await place.keys()).toEqual([`models/m.${sha256(OTHER).slice(0, 12)}.gguf`, "models/m.json"]);
    // The same file again: its key is the same, and must survive.
    expect(await place.model(["add", "other.gguf", "--name", "m", "--replace"])).toMatchObject({ exitCode: 0 });
    expect(await place.keys()).toEqual([`models/m.${sha256(OTHER).slice(0, 12)}.gguf`, "models/m.json"]);
  });

  it("keeps the old model when the new one cannot be stored", async () => {
    await place.model(["add", "small.gguf", "--name", "m"]);
    const store = await place.store();
    const file = { path: join(place.folder, "other.gguf"), sizeBytes: OTHER.length, sha256: "0".repeat(64) };
    await expect(store.putFile("models/m.gguf", file, () => undefined)).rejects.toThrow("could not be stored");
    expect(await place.keys()).toEqual([`models/m.${sha256(SMALL).slice(0, 12)}.gguf`, "models/m.json"]);
  });

  it("goes on listing beside a manifest that is broken", async () => {
    await place.model(["add", "small.gguf", "--name", "m"]);
    await (await place.bucket()).put("models/broken.json", "{");
    const run = await place.model(["list"]);
    expect(run.stdout).toMatch(/^m +334\.6 kB/m);
    expect(run.stderr).toContain("left out: The manifest models/broken.json is not JSON.");
  });

  it("checks without storing anything with --dry-run", async () => {
    const checked = await place.model(["add", "small.gguf", "--dry-run"]);
    expect(checked.exitCode).toBe(0);
    expect(checked.stdout).toContain("KV of one context, 256 tokens");
    expect(await place.keys()).toEqual([]);
  });

  it("says how much context fits where not all does", async () => {
    const metadata = { "llama.context_length": u32(1_000_000) };
    writeFileSync(join(place.folder, "long.gguf"), tinyModelBytes({ metadata }));
    const run = await place.model(["add", "long.gguf", "--dry-run"]);
    expect(run.stdout).toMatch(/The largest context that fits is \d+ tokens; the model was trained on 1000000\./);
  });

  it("removes only what is there", async () => {
    expect(await place.model(["remove", "none"])).toMatchObject({
      exitCode: 1,
      stderr: "model: There is no model 'none'. See `npm run model -- list`.\n",
    });
  });

  it("shows built-in models first", () => {
    const manifest = (id: string): ModelManifest => ({
      ...{ id, name: id, description: null, file: `${id}.gguf`, sizeBytes: 1500, sha256: "0".repeat(64) },
      ...{
        contextLength: 256,
        parameters: null,
        quantization: null,
        architecture: null,
        license: null,
        capabilities: null,
        createdAt: null,
      },
    });
    expect(listText([manifest("demo")], [{ ...manifest("mine"), createdAt: "2026-11-22T10:00:00Z" }])).toBe(
      [
        "NAME  SIZE    WEIGHTS  PARAMETERS  CONTEXT  ADDED",
        "demo  1.5 kB                       256      built in",
        "mine  1.5 kB                       256      2026-11-22",
      ].join("\n"),
    );
  });
});

describe("what is refused before anything is copied", () => {
  it.each([
    ["a truncated file", SMALL.subarray(0, SMALL.length - 100), "is truncated"],
    ["another file", new TextEncoder().encode("<html></html>"), "is not a GGUF file"],
    ["a type that is not read", withTensorType(SMALL, 16), "IQ2_XXS (16)"],
    ["an architecture that is not read", withArchitecture(SMALL, "lemma"), `has the architecture "lemma"`],
    ["a mixture of experts", tinyModelBytes({ metadata: { "llama.expert_count": u32(8) } }), "a mixture of experts"],
    ["no vocabulary", tinyModelBytes({ metadata: { "tokenizer.ggml.tokens": null } }), "tokenizer.ggml.tokens"],
  ])("%s", async (_case, bytes, message) => {
    const path = join(place.folder, "bad.gguf");
    writeFileSync(path, bytes);
    const run = await place.model(["add", path]);
    expect(run).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(message) });
    expect(run.stderr).not.toContain("copying");
  });

  it("a model over the memory budget, with the numbers", async () => {
    const run = await place.model(["add", "large.gguf"], { MEMORY_BUDGET_BYTES: "20500000" });
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/it needs \d+\.\d MB \(weights \d+\.\d MB, KV of 256 tokens .*, and 6\.0 MB are there/);
    expect(await place.keys()).toEqual([]);
  });

  it("a file that is not there", async () => {
    const run = await place.model(["add", "none.gguf"]);
    expect(run).toMatchObject({ exitCode: 1, stderr: `model: There is no file ${join(place.folder, "none.gguf")}.\n` });
  });

  it("the name of a built-in model", async () => {
    const [builtIn] = embeddedModels();
    const add = await place.model(["add", "small.gguf", "--name", builtIn!.id]);
    expect(add).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("is the name of a built-in model") });
    const remove = await place.model(["remove", builtIn!.id]);
    expect(remove).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("is built in") });
  });
});

describe("how it is called", () => {
  it.each([
    [[], "A command is missing."],
    [["frob"], "There is no command 'frob'."],
    [["add"], "add needs SOURCE."],
    [["add", "a.gguf", "b.gguf"], "add takes one SOURCE, but got 'a.gguf' and 'b.gguf'."],
    [["add", "a.gguf", "--frob"], "Unknown option '--frob'"],
    [["add", "a.gguf", "--name", "a b"], "'a b' is no name for a model"],
    [["add", "hf:org/file.gguf"], "is not of the form hf:ORG/REPO/FILE.gguf"],
    [["add", "ftp://host/m.gguf"], "has the scheme ftp:"],
    [["list", "x"], "list takes no operand"],
    [["list", "--remote"], "wrangler cannot list a bucket"],
    [["remove"], "remove needs NAME."],
    [["remove", "../x"], "'../x' is no name of a model"],
  ])("%j", async (args, message) => {
    const run = await place.model(args);
    expect(run).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining(message) });
    expect(run.stderr).toContain("npm run model -- --help");
  });

  it("--help", async () => {
    const run = await place.model(["--help"]);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(run.stdout).toContain("Usage: npm run model -- COMMAND");
  });
});

/** The type id of the first tensor, which follows its name, rank and two dimensions. */
function withTensorType(bytes: Uint8Array, type: number): Uint8Array {
  const copy = bytes.slice();
  const name = Buffer.from(copy.buffer).indexOf("token_embd.weight");
  new DataView(copy.buffer).setUint32(name + "token_embd.weight".length + 4 + 16, type, true);
  return copy;
}

function withArchitecture(bytes: Uint8Array, name: string): Uint8Array {
  const copy = bytes.slice();
  const key = Buffer.from(copy.buffer).indexOf("general.architecture");
  copy.set(new TextEncoder().encode(name), key + "general.architecture".length + 4 + 8);
  return copy;
}
