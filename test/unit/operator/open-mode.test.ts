/** Without keys: this machine by its own names, or everybody where the operator says so, and nobody else. */
import { expect, test } from "vitest";
import packageJson from "../../../package.json" with { type: "json" };
import { corsPolicyOf } from "../../../src/edge/cors-setting.ts";
import { authorize } from "../../../src/edge/keys/authorize.ts";
import { VERSION } from "../../../src/protocol/version.ts";

const ask = (url: string, env = {}) => authorize(env, new Request(url), 0);

test.each([
  "http://localhost:8787/v1/models",
  "http://127.0.0.1:8787/",
  "http://127.1.2.3/",
  "http://[::1]:8787/",
  "http://runnel.localhost:8787/",
])("%s is this machine", async (url) => {
  expect(await ask(url)).toEqual({ keyId: null, models: null });
});

test.each([
  "https://runnel.example.workers.dev/v1/models",
  "http://localhost.evil.example/",
  "http://127.0.0.1.evil.example/",
  "http://10.0.0.1:8787/",
  "http://[::2]/",
])("%s is not, and the operator is told how to change that", async (url) => {
  await expect(ask(url)).rejects.toMatchObject({
    status: 401,
    code: "invalid_api_key",
    message: expect.stringMatching(/npm run keys -- create.*OPEN=1/),
  });
  expect(await ask(url, { OPEN: "1" })).toEqual({ keyId: null, models: null });
});

test("OPEN opens nothing where there are keys", async () => {
  const key = {
    id: "key_0123456789ab",
    name: "one",
    sha256: "0".repeat(64),
    models: null,
    requestsPerMinute: null,
    tokensPerMinute: null,
    expiresAt: null,
    createdAt: "2026-01-01T00:00:00.000Z",
  };
  const env = { API_KEYS: JSON.stringify([key]), OPEN: "1" };
  await expect(ask("http://localhost/", env)).rejects.toMatchObject({ status: 401 });
  // And any page may ask then, for it has no key that nobody gave it.
  expect(corsPolicyOf(env)).toBe("any");
  expect(corsPolicyOf({ ...env, CORS_ORIGINS: "https://a.example" })).toBeTypeOf("function");
  expect(corsPolicyOf({})).toBeTypeOf("function");
});

test("the version that metrics tell is the package's", () => {
  expect(VERSION).toBe(packageJson.version);
});
