/** `npm run bench:gpu --software`: everything that runs on a GPU, on the CPU at toy sizes, as a person runs it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { benchmarkPage } from "../../../scripts/bench/benchmark-page.ts";
import type { DecodeResult } from "../../../scripts/bench/gpu/decode-run.ts";
import type { GpuResults } from "../../../scripts/bench/results.ts";

const COMMAND = join(import.meta.dirname, "../../../scripts/bench/gpu.ts");

test("measures every section and prints one JSON", { timeout: 180_000 }, async () => {
  // A Python that is not there: what others have installed must not decide how long this takes.
  const args = ["--software", "--python", "no-such-python"];
  const child = spawn(process.execPath, [COMMAND, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let progress = "";
  child.stdout.on("data", (piece) => (output += piece));
  child.stderr.on("data", (piece) => (progress += piece));
  const [code] = (await once(child, "close")) as [number | null];
  expect(code, progress).toBe(0);

  const results = JSON.parse(output) as GpuResults;
  const statuses = Object.entries(results.sections).map(([name, { status }]) => [name, status]);
  expect(Object.fromEntries(statuses), progress).toEqual({
    adapter: "done",
    ceilings: "done",
    "llama-8b q4_0": "done",
    "transformers llama-8b": "skipped",
    kernels: "done",
    dispatches: "done",
    transfers: "done",
    stability: "done",
  });
  expect(results.sections["transformers llama-8b"]!.reason).toContain("no-such-python");
  expect(results.sections.adapter!.values).toMatchObject({ adapter: { isSoftware: true }, subgroupMatrixConfigs: [] });
  expect(Object.keys(results.sections.ceilings!.values)).toEqual(["readGbPerS", "copyGbPerS", "f32TflopPerS"]);
  expect(results.sections.dispatches!.values).toMatchObject({ timestampsAreRounded: false });
  expect(results.sections.transfers!.values.readbackMs).toMatchObject({ p50: expect.any(Number) });

  const { decode, decodeLong, prefixHit, serving, servingOneStepInFlight, oneRequest } =
    results.sections["llama-8b q4_0"]!.values;
  expect((decode as DecodeResult[]).map(({ batch }) => batch)).toEqual([1, 2]);
  expect(decodeLong).toHaveLength(1);
  expect(prefixHit).toMatchObject({ promptTokens: 48, cachedTokens: 32 });
  // A prompt's step and three decodes.
  expect(serving).toMatchObject({ requests: 3, newTokens: 4, numStepsInFlight: 2, numSteps: 4, numStepsAhead: 3 });
  expect(servingOneStepInFlight).toMatchObject({ numStepsInFlight: 1, numSteps: 4, numStepsAhead: 0 });
  expect(oneRequest).toMatchObject([{ numStepsAhead: 0 }, { numStepsAhead: 3 }]);
  expect(results.summary.decodeOfRead["llama-8b q4_0"]).toBeGreaterThan(0);
  expect(progress).toContain("adapter: done");
  expect(benchmarkPage([results])).toContain("llama-8b: decode of so many sequences at a context");
});
