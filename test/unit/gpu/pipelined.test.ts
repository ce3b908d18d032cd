/** Two steps in flight on a software GPU. */
import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { pipelinedContract } from "../../contract/pipelined.contract.ts";

pipelinedContract({
  name: "webgpu",
  async make({ bytes, spec }, options) {
    const file = await readGguf(memorySource(bytes, "tiny"));
    return GpuBackend.load({ device: await GpuDevice.open({ software: true }), ...file, spec, options });
  },
  crash: (backend) => (backend as GpuBackend).crashForTest(),
});
