/** The CPU engine answers at once, and says so. */
import { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { pipelinedContract } from "../../contract/pipelined.contract.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

pipelinedContract({
  name: "scalar",
  async make({ bytes, spec }, options) {
    const file = await readGguf(memorySource(bytes, "tiny"));
    return CpuBackend.load({ modules: kernelModules(["scalar"]), ...file, spec, options });
  },
  crash: (backend) => (backend as CpuBackend).crashForTest(),
});
