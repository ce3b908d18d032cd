import { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import { KV_PRECISIONS } from "../../../src/backends/cpu/memory-plan.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { backendContract } from "../../contract/backend.contract.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

/** Rounding K and V to int8 moves one of the random F32 model, whose logits range over ±8, by 0.18. */
const LOGITS = { f32: 1e-4, f16: 1e-2, q8: 0.25, i16: 1e-2 };

for (const set of KERNEL_SETS) {
  for (const kvPrecision of KV_PRECISIONS) {
    backendContract({
      name: set,
      kvPrecision,
      async make({ bytes, spec }, options) {
        const file = await readGguf(memorySource(bytes, "tiny"));
        return CpuBackend.load({ modules: kernelModules([set]), ...file, spec, options });
      },
      crash: (backend) => (backend as CpuBackend).crashForTest(),
      tolerances: { logits: LOGITS[kvPrecision], nmse: 4e-3, logprob: 1e-5 },
    });
  }
}
