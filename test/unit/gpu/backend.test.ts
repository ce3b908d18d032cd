/**
 * The contract of all backends, on a software GPU, which compiles each model's kernels for seconds: two models that have
 * most of what differs. `GPU_CONTRACT=all` runs all of them.
 */

import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { backendContract } from "../../contract/backend.contract.ts";
import type { ContractModel } from "../../contract/backend-subject.ts";

const MODELS = {
  f16: ["qwen3: norms of heads, which are wider than the model"],
  q8: ["4 to 8 bits mixed"],
} as const satisfies Record<string, readonly ContractModel[]>;

for (const kvPrecision of ["f16", "q8"] as const) {
  backendContract({
    ...(process.env.GPU_CONTRACT !== "all" && { models: MODELS[kvPrecision] }),
    name: "webgpu",
    kvPrecision,
    async make({ bytes, spec }, { kvPrecision: precision, ...options }) {
      const file = await readGguf(memorySource(bytes, "tiny"));
      const device = await GpuDevice.open({ software: true });
      return GpuBackend.load({
        device,
        ...file,
        spec,
        options: { ...options, kvPrecision: precision === "q8" ? "int8" : "f16" },
      });
    },
    crash: (backend) => (backend as GpuBackend).crashForTest(),
    tolerances: { logits: kvPrecision === "f16" ? 1e-2 : 0.25, nmse: 4e-3, logprob: 1e-5 },
  });
}
