/** The command line, and the key. */
import { expect, test } from "vitest";
import { ModelNames } from "../../../src/api/model-names.ts";
import { keyCheck } from "../../../src/origin/api-key.ts";
import { parseOptions } from "../../../src/origin/options.ts";

const parse = (line: string, env = {}) => parseOptions(line.split(" ").filter(Boolean), env)!;

test("a model is called what its file is called, or as it was said", () => {
  const { engines, ...rest } = parse("--model dir/demo.gguf --model org/big=other.gguf --max-waiting 3");
  expect(engines).toMatchObject([
    { modelId: "demo", path: "dir/demo.gguf", software: false, kvPrecision: "f16", waitingMax: 3, speculation: "off" },
    { modelId: "org/big", path: "other.gguf", waitingMax: 3 },
  ]);
  expect(rest).toEqual({
    ...{ host: "127.0.0.1", port: 8788, apiKey: null, drainMs: 30_000, isVerbose: false },
    names: expect.any(ModelNames),
  });
});

test("port and key come from the environment, too; drafts are asked for", () => {
  const env = { PORT: "9000", RUNNEL_API_KEY: "secret" };
  expect(parse("--model a.gguf", env)).toMatchObject({ port: 9000, apiKey: "secret" });
  expect(parse("--model a.gguf --port 0 --api-key other", env)).toMatchObject({ port: 0, apiKey: "other" });
  expect(parse("--model a.gguf --drafts 4").engines[0]!.speculation).toEqual({ maxDrafts: 4 });
  const drafting = parse("--model a.gguf --drafts 4 --draft-model small.gguf").engines[0];
  expect(drafting).toMatchObject({ speculation: { maxDrafts: 4 }, draftPath: "small.gguf" });
  expect(parseOptions(["--help"], {})).toBeNull();
});

test("adapters belong to the model before them", () => {
  const { engines } = parse(
    "--model a.gguf --lora x=1.gguf --port 1 --lora team/y=dir/2=3.gguf --model b.gguf --lora z=1.gguf",
  );
  expect(engines.map(({ modelId, adapters }) => [modelId, adapters])).toEqual([
    [
      "a",
      [
        { name: "x", path: "1.gguf" },
        { name: "team/y", path: "dir/2=3.gguf" },
      ],
    ],
    ["b", [{ name: "z", path: "1.gguf" }]],
  ]);
});

test.each([
  ["", "Which model?"],
  ["--model a=", "names no file"],
  ["--model /=x.gguf", "is no name for a model"],
  ["--model a.gguf --model b/a.gguf --model a=c.gguf", "Two models are called 'a'"],
  ["--lora x=1.gguf --model a.gguf", "--lora x=1.gguf comes before every --model"],
  ["--model a.gguf --lora 1.gguf", "names no adapter or no file"],
  ["--model a.gguf --lora /=1.gguf", "is no name for an adapter"],
  ["--model a.gguf --lora a=1.gguf", "Two models are called 'a'"],
  ["--model a.gguf --model b.gguf --lora x=1.gguf --lora x=2.gguf", "Two models are called 'x'"],
  ["--model a.gguf --port 70000", "from 0 to 65535"],
  ["--model a.gguf --context 0", "--context is '0'; it must be a whole number of at least 1"],
  ["--model a.gguf --draft-model b.gguf", "Say --drafts N, too"],
  ["--model a.gguf --model c.gguf --drafts 2 --draft-model b.gguf", "guesses for one model, but there are 2"],
  ["--model a.gguf --drafts 9", "--drafts is '9'; it must be a whole number from 1 to 8"],
  ["--model a.gguf --kv-precision q4", "must be f16 or int8"],
  ["--model a.gguf --drain-seconds 90000", "from 0 to 3600"],
  ["--model a.gguf --fast", "Unknown option '--fast'"],
])("%s", (line, message) => {
  expect(() => parse(line)).toThrow(message);
});

test("an empty key is no key at all, and refused", () => {
  expect(() => parse("--model a.gguf", { RUNNEL_API_KEY: "" })).toThrow("no client can send it");
});

test("a bearer token is compared whole", async () => {
  const check = keyCheck("secret");
  const asked = (authorization?: string) =>
    check(new Request("http://x/", authorization === undefined ? {} : { headers: { authorization } }));
  await asked("Bearer secret");
  await asked("bearer  secret");
  for (const wrong of [undefined, "secret", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"]) {
    await expect(asked(wrong)).rejects.toThrow("needs an API key");
  }
});
