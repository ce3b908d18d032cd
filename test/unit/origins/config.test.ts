/** The variable ORIGINS: what it takes, and what is said of a wrong one, never quoting it. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { parseOrigins } from "../../../src/edge/origins/config.ts";
import { modelsOf, Origin } from "../../../src/edge/origins/origin.ts";

const SECRET = "sk-do-not-tell";
const GPU = { name: "gpu-1", url: "https://gpu.example.com/v1", models: [{ id: "big" }] };

test("what is left out has its default", () => {
  expect(parseOrigins(JSON.stringify([GPU]))).toEqual([
    { ...GPU, kind: "openai", weight: 1, firstByteMs: 60_000, betweenBytesMs: 30_000 },
  ]);
  expect(parseOrigins(undefined)).toEqual([]);
  expect(parseOrigins("")).toEqual([]);
  // What wrangler makes of a list in its own file.
  expect(parseOrigins([GPU])).toHaveLength(1);
});

test.each([
  ["https://gpu.example.com", "https://gpu.example.com/v1"],
  ["https://gpu.example.com/", "https://gpu.example.com/v1"],
  ["https://gpu.example.com/v1/", "https://gpu.example.com/v1"],
  ["http://10.0.0.7:8000/serve/llm/v1", "http://10.0.0.7:8000/serve/llm/v1"],
])("the base URL %s is taken as %s", (url, base) => {
  expect(parseOrigins([{ ...GPU, url }])[0]!.url).toBe(base);
});

describe("refuses", () => {
  test.each<[string, unknown, string]>([
    ["no JSON", `[{"name":"x","key":"${SECRET}"`, "is no JSON"],
    ["no list", "{}", "ORIGINS must be a value of type array"],
    ["no name", [{ ...GPU, name: undefined }], "ORIGINS[0].name must be"],
    ["a name with spaces", [{ ...GPU, name: "my gpu" }], "ORIGINS[0].name must be 1 to 64 characters"],
    ["a name that is taken", [GPU, GPU], "ORIGINS[1].name 'gpu-1' is taken"],
    ["no address", [{ ...GPU, url: undefined }], "ORIGINS[0].url is missing"],
    ["no URL", [{ ...GPU, url: `gpu:${SECRET}` }], "ORIGINS[0].url must be an http or https URL"],
    ["a password in the URL", [{ ...GPU, url: `https://me:${SECRET}@gpu/v1` }], "must have no user and password"],
    ["a query in the URL", [{ ...GPU, url: `https://gpu/v1?key=${SECRET}` }], "must have no query"],
    ["two keys", [{ ...GPU, key: SECRET, keySecret: "KEY" }], "has both key and keySecret"],
    ["a key for the binding", [{ ...GPU, kind: "workers-ai", url: undefined, key: SECRET }], "no url and no key"],
    ["an unknown kind", [{ ...GPU, kind: SECRET }], "ORIGINS[0].kind must be one of 'openai', 'runnel'"],
    ["a field that nobody knows", [{ ...GPU, apiKey: SECRET }], "has fields that nobody knows: apiKey"],
    ["no models", [{ ...GPU, models: [] }], "ORIGINS[0].models must be at least 1"],
    [
      "a model twice",
      [{ ...GPU, models: [{ id: "a" }, { id: "a" }] }],
      "ORIGINS[0].models[1].id 'a' stands there twice",
    ],
    ["a weight of nothing", [{ ...GPU, weight: 0 }], "ORIGINS[0].weight must be more than 0"],
    ["a key that is no text", [{ ...GPU, key: 7 }], "ORIGINS[0].key must be a value of type string"],
  ])("%s", (_name, variable, message) => {
    let said = "";
    try {
      parseOrigins(variable);
    } catch (cause) {
      said = (cause as Error).message;
    }
    expect(said).toContain(message);
    expect(said).toMatch(/docs\/origins\.md/);
    expect(said).not.toContain(SECRET);
  });
});

test("a model has all its origins, the shortest of their contexts and the first fallback", () => {
  const origins = parseOrigins([
    { ...GPU, models: [{ id: "big", contextLength: 8192 }, { id: "only" }] },
    { ...GPU, name: "gpu-2", models: [{ id: "big", upstream: "org/Big", contextLength: 4096, fallback: "small" }] },
  ]);
  const [big, only] = modelsOf(origins.map((config) => new Origin(config, systemClock)));
  expect(big).toMatchObject({ id: "big", contextLength: 4096, fallback: "small", description: null });
  expect(big!.places.map(({ origin, upstreamModel }) => [origin.name, upstreamModel])).toEqual([
    ["gpu-1", "big"],
    ["gpu-2", "org/Big"],
  ]);
  expect(only).toMatchObject({ id: "only", contextLength: null, fallback: null });
});
