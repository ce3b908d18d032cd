/** The contract of all backends, on a software GPU. */
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import type { Backend } from "../../../src/serving/backend.ts";
import { backendContract } from "../../contract/backend.contract.ts";

for (const kvPrecision of ["f16", "q8"] as const) {
  backendContract({
    name: "webgpu",
    kvPrecision,
    async make({ bytes, spec }, { kvPrecision: precision, ...options }) {
      const file = await readGguf(memorySource(bytes, "tiny"));
      const device = await GpuDevice.open({ software: true });
      const backend = await GpuBackend.load({
        device,
        ...file,
        spec,
        options: { ...options, kvPrecision: precision === "q8" ? "int8" : "f16" },
      });
      return backend as unknown as Backend;
    },
    crash: (backend) => (backend as unknown as GpuBackend).crashForTest(),
    tolerances: { logits: kvPrecision === "f16" ? 1e-2 : 0.25, nmse: 4e-3, logprob: 1e-5 },
  });
}
