import { describe, expect, it } from "vitest";
import {
  idOfManifestKey,
  isModelId,
  type ModelManifest,
  manifestKey,
  modelFileKey,
  parseManifest,
} from "../../../src/model/catalog.ts";

const MANIFEST: ModelManifest = {
  id: "org/smol-135m",
  name: "Smol 135M",
  description: "A small chat model.",
  file: "org/smol-135m.0123456789ab.gguf",
  sizeBytes: 91_700_000,
  sha256: "0123456789abcdef".repeat(4),
  contextLength: 2048,
  parameters: 134_515_008,
  quantization: "Q4_0",
  architecture: "llama",
  license: "apache-2.0",
  capabilities: ["completion", "tools"],
  createdAt: "2026-11-22T12:00:00.000Z",
};

describe("model ids", () => {
  it.each(["demo", "a", "SmolLM2-135M", "org/model.v1_2", "0", "a".repeat(128)])("allows %s", (id) => {
    expect(isModelId(id)).toBe(true);
    expect(idOfManifestKey(manifestKey(id))).toBe(id);
  });

  it.each(["", "..", "a/../b", "a//b", "/a", "a/", ".a", "a/.b", "-a", "a b", "a\\b", "é", "a?b", "a".repeat(129)])(
    "refuses %j",
    (id) => {
      expect(isModelId(id)).toBe(false);
    },
  );

  it("finds the id only in keys of manifests", () => {
    expect(idOfManifestKey("models/a/b.json")).toBe("a/b");
    expect(idOfManifestKey("models/a.json.json")).toBe("a.json");
    for (const key of ["models/a.gguf", "other/a.json", "models/.json", "models/../a.json"]) {
      expect(idOfManifestKey(key)).toBeNull();
    }
  });
});

describe("parseManifest", () => {
  it("reads what was written", () => {
    expect(parseManifest(JSON.stringify(MANIFEST), "m.json")).toEqual(MANIFEST);
    expect(modelFileKey(MANIFEST)).toBe("models/org/smol-135m.0123456789ab.gguf");
  });

  it("takes null for what a manifest may leave out, and ignores what it does not know", () => {
    const { description, parameters, quantization, architecture, license, capabilities, createdAt, ...least } =
      MANIFEST;
    const optional = { description, parameters, quantization, architecture, license, capabilities, createdAt };
    const nulls = Object.fromEntries(Object.keys(optional).map((key) => [key, null]));
    expect(parseManifest(JSON.stringify({ ...least, more: 1 }), "m.json")).toEqual({ ...least, ...nulls });
  });

  it.each([
    ["{", "The manifest m.json is not JSON."],
    ["[]", "The manifest m.json is not a JSON object."],
    ["null", "The manifest m.json is not a JSON object."],
  ])("refuses %s", (text, message) => {
    expect(() => parseManifest(text, "m.json")).toThrow(message);
  });

  it.each([
    ["id", undefined, `has no "id"`],
    ["id", "../x", `has "../x" as "id"`],
    ["name", 5, `has 5 as "name"; it must be a string`],
    ["file", "../secret.gguf", `"../secret.gguf" as "file"`],
    ["file", "model.bin", "it must be a .gguf path"],
    ["sizeBytes", -1, `has -1 as "sizeBytes"; it must be a whole number above 0`],
    ["sizeBytes", "5", `has "5" as "sizeBytes"`],
    ["sha256", "abc", "it must be 64 hex digits"],
    ["contextLength", 1.5, `has 1.5 as "contextLength"`],
    ["capabilities", ["flying"], "it must be a list of completion, tools, thinking"],
    ["capabilities", "tools", "it must be a list of completion"],
    ["createdAt", "yesterday", "it must be an ISO 8601 date"],
  ])("names the field: %s = %j", (key, value, message) => {
    expect(() => parseManifest(JSON.stringify({ ...MANIFEST, [key]: value }), "m.json")).toThrow(message);
  });
});
