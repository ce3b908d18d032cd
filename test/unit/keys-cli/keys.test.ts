/** `npm run keys` on files of its own, with the same list that the Worker reads. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { main } from "../../../scripts/keys/cli.ts";
import { DevVarsStore } from "../../../scripts/keys/dev-vars-store.ts";
import { SECRET_BYTES_MAX, SecretStore } from "../../../scripts/keys/secret-store.ts";
import { parseApiKeys } from "../../../src/edge/keys/api-keys.ts";
import { authorize } from "../../../src/edge/keys/authorize.ts";

const NOW_MS = Date.parse("2026-12-01T12:00:00Z");

let folder: string;
let secrets: [string, string][];
let secretExitCode: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "runnel-keys-"));
  secrets = [];
  secretExitCode = 0;
});
afterEach(() => rmSync(folder, { recursive: true }));

async function keys(...args: string[]): Promise<{ exitCode: number; out: string; warnings: string }> {
  const said = { out: "", warnings: "" };
  const exitCode = await main(args, {
    print: (text) => {
      said.out += text;
    },
    warn: (text) => {
      said.warnings += text;
    },
    nowMs: () => NOW_MS,
    open: (isRemote) =>
      isRemote
        ? new SecretStore(join(folder, "api-keys.json"), async (name, value) => {
            secrets.push([name, value]);
            return { exitCode: secretExitCode, said: "not logged in" };
          })
        : new DevVarsStore(join(folder, ".dev.vars")),
  });
  return { exitCode, ...said };
}

const devVars = () => readFileSync(join(folder, ".dev.vars"), "utf8");

/** As wrangler gives it to the Worker. */
const workerVariable = () => /^API_KEYS='(.*)'$/m.exec(devVars())?.[1];

const asks = (key: string, apiKeys = workerVariable()!) =>
  authorize(
    { API_KEYS: apiKeys },
    new Request("https://edge.example/v1/models", { headers: { authorization: `Bearer ${key}` } }),
    NOW_MS,
  );

test("a key is shown once, works, and only its hash is kept", async () => {
  writeFileSync(join(folder, ".dev.vars"), "OTHER=1\n# a comment\n");
  const { exitCode, out, warnings } = await keys(
    "create",
    "my laptop",
    "--models",
    "a,b",
    "--tokens-per-minute",
    "5000",
  );
  expect([exitCode, out]).toEqual([0, expect.stringMatching(/^rk_[0-9A-Za-z_-]{43}$/)]);
  expect(devVars()).toMatch(/^OTHER=1\n# a comment\nAPI_KEYS='\[.*\]'\n$/);
  expect(devVars()).not.toContain(out);
  expect(statSync(join(folder, ".dev.vars")).mode & 0o077).toBe(0o044 & statSync(join(folder, ".dev.vars")).mode);
  const [key] = parseApiKeys(workerVariable()!);
  expect(key).toMatchObject({
    name: "my laptop",
    sha256: createHash("sha256").update(out).digest("hex"),
    models: ["a", "b"],
    requestsPerMinute: null,
    tokensPerMinute: 5000,
    expiresAt: null,
  });
  expect(warnings).toContain(key!.id);
  expect(await asks(out)).toEqual({ keyId: key!.id, models: ["a", "b"] });
  await expect(asks(`${out}x`)).rejects.toMatchObject({ status: 401 });
});

test("a new file is nobody else's to read", async () => {
  await keys("create", "first");
  expect(statSync(join(folder, ".dev.vars")).mode & 0o777).toBe(0o600);
});

test("two keys are two, and a revoked one opens nothing", async () => {
  const [first, second] = [(await keys("create", "first")).out, (await keys("create", "second")).out];
  expect(first).not.toBe(second);
  const { out: table } = await keys("list");
  expect(table.split("\n")).toHaveLength(2);
  const { id } = parseApiKeys(workerVariable()!)[0]!;
  expect((await keys("show", id, "--json")).out).not.toContain("sha256");
  expect((await keys("revoke", id)).exitCode).toBe(0);
  await expect(asks(first)).rejects.toMatchObject({ status: 401 });
  expect(await asks(second)).toMatchObject({ models: null });
  expect((await keys("revoke", id)).warnings).toMatch(/There is no key 'key_.*Keys: key_/);
  const last = parseApiKeys(workerVariable()!)[0]!;
  expect((await keys("revoke", last.id)).warnings).toContain("localhost only");
  expect(devVars()).toBe("");
});

test("a key expires when it was said to", async () => {
  const { out } = await keys("create", "guest", "--expires", "2d");
  expect(await asks(out)).toBeDefined();
  const request = new Request("https://edge.example/", { headers: { "x-api-key": out } });
  const later = authorize({ API_KEYS: workerVariable()! }, request, NOW_MS + 2 * 86_400_000);
  await expect(later).rejects.toMatchObject({ status: 401, message: expect.stringContaining("expired at 2026-12-03") });
  expect((await keys("list")).out).toContain("expires 2026-12-03");
});

describe("the deployed Worker", () => {
  test("gets the whole list as its secret, and the file keeps it", async () => {
    await keys("create", "first", "--remote");
    const { out } = await keys("create", "second", "--remote", "--requests-per-minute", "60");
    const kept = parseApiKeys(readFileSync(join(folder, "api-keys.json"), "utf8"));
    expect(secrets.map(([name]) => name)).toEqual(["API_KEYS", "API_KEYS"]);
    expect(JSON.parse(secrets[1]![1])).toEqual(kept);
    expect(await asks(out, secrets[1]![1])).toMatchObject({ keyId: kept[1]!.id });
  });

  test("a list that no secret holds is refused with the numbers", async () => {
    for (let i = 0; ; i++) {
      const { exitCode, warnings } = await keys("create", `number ${i}`, "--remote");
      if (exitCode === 0) continue;
      expect(warnings).toMatch(new RegExp(`\\d+ keys are \\d+ bytes and a secret holds ${SECRET_BYTES_MAX}`));
      expect(i).toBeGreaterThan(15);
      break;
    }
  });

  test("where wrangler fails, it is said", async () => {
    secretExitCode = 1;
    const { exitCode, warnings } = await keys("create", "first", "--remote");
    expect([exitCode, warnings]).toEqual([1, expect.stringContaining("not logged in")]);
  });
});

test.each([
  [[], "A command is missing"],
  [["frobnicate"], "There is no command 'frobnicate'"],
  [["create"], "create needs a NAME"],
  [["create", "it's"], "The name 'it's' must be"],
  [["create", "a", "--requests-per-minute", "0"], "--requests-per-minute is '0'"],
  [["create", "a", "--tokens-per-minute", "1.5"], "--tokens-per-minute is '1.5'"],
  [["create", "a", "--expires", "yesterday"], "--expires is 'yesterday'"],
  [["create", "a", "--expires", "2020-01-01"], "--expires is '2020-01-01'"],
  [["create", "a", "--models", "a b"], "--models is 'a b'"],
  [["list", "x"], "list takes no operand"],
] as [string[], string][])("%j is refused", async (args, message) => {
  const { exitCode, warnings } = await keys(...args);
  expect([exitCode, warnings]).toEqual([2, expect.stringContaining(message)]);
});

test.each([
  ["{", "API_KEYS is not JSON"],
  ['[{"id":"x"}]', "API_KEYS is wrong at '0.id'"],
])("a list that is %s lets nobody in, and says what is wrong", async (text, message) => {
  await expect(asks("rk_any", text)).rejects.toThrow(message);
});
