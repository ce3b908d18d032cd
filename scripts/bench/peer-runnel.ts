/** This engine, driven as its peers are. */
import { readFileSync } from "node:fs";
import { CpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { ABI_VERSION } from "../../src/backends/cpu/exports.ts";
import { readGguf } from "../../src/model/gguf-reader.ts";
import { memorySource } from "../../src/model/source-memory.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { kernelModules } from "../../test/support/kernel-modules.ts";
import { answerJob } from "./peer-job.ts";
import { decodeStep, placeSequence, prefill } from "./running-sequences.ts";

await answerJob(async ({ modelPath, promptTokens, newTokens }) => {
  const { header, data } = await readGguf(memorySource(readFileSync(modelPath), modelPath));
  const spec = specFromGguf(header, modelPath);
  const contextLength = promptTokens + newTokens;
  const options = { contextLength, maxBatchSequences: 1 };
  const backend = await CpuBackend.load({ modules: kernelModules(), header, data, spec, options });
  const sequence = placeSequence(backend.limits, contextLength);
  return {
    version: `ABI ${ABI_VERSION}`,
    build: backend.name,
    async prefill(tokens) {
      prefill(backend, sequence, tokens);
    },
    async decode(numTokens) {
      for (let i = 0; i < numTokens; i++) decodeStep(backend, [sequence]);
    },
  };
});
