import { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { backendContract } from "../../contract/backend.contract.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

for (const set of KERNEL_SETS) {
  backendContract({
    name: set,
    async make({ bytes, spec }, options) {
      const file = await readGguf(memorySource(bytes, "tiny"));
      return CpuBackend.load({ modules: kernelModules([set]), ...file, spec, options });
    },
    crash: (backend) => (backend as CpuBackend).crashForTest(),
    tolerances: { logits: 1e-4, logprob: 1e-5 },
  });
}
