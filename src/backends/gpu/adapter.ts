/**
 * Choosing the GPU. Vulkan hands out a CPU driver as if it were a GPU when no other is there, so what was found is always
 * described, and a software adapter is an error unless it was asked for: nothing ever falls back in silence.
 */
import { create } from "webgpu";
import { useSoftwareVulkan } from "./software-vulkan.ts";

export interface AdapterDescription {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** A CPU that plays a GPU. Its times are no GPU's times. */
  isSoftware: boolean;
}

export interface AdapterOptions {
  /** Run on SwiftShader, the CPU. */
  software?: boolean;
}

/** There is no GPU to run on, and the CPU was not asked for. */
export class NoGpuError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NoGpuError";
  }
}

/**
 * `allow_unsafe_apis` offers subgroup matrices; `vulkan_enable_f16_on_nvidia` the f16 that their tiles are made of, which
 * Dawn otherwise keeps from NVIDIA. Kernels write workgroup memory before they read it, and SwiftShader takes seconds to
 * compile what would clear it. Timestamps are else rounded to 65 µs, longer than most kernels run.
 */
const DAWN_OPTIONS = [
  "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,disable_workgroup_init",
  "disable-dawn-features=timestamp_quantization",
];

/** Dawn's instance must outlive its devices: when it is collected as garbage, the process aborts. */
const PINNED = new Set<GPU>();

export interface OpenAdapter {
  gpu: GPU;
  adapter: GPUAdapter;
  description: AdapterDescription;
  /** Lets the process end. No device of this adapter may be used afterwards. */
  release(): void;
}

/** @throws NoGpuError when there is no adapter, or only a software one that was not asked for */
export async function openAdapter({ software = false }: AdapterOptions): Promise<OpenAdapter> {
  if (software) await useSoftwareVulkan();
  const gpu = create(DAWN_OPTIONS);
  PINNED.add(gpu);
  const release = () => void PINNED.delete(gpu);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) {
    release();
    throw new NoGpuError(
      "No GPU was found. In a container, NVIDIA's Vulkan driver needs NVIDIA_DRIVER_CAPABILITIES=graphics,compute,utility; " +
        "--software runs on the CPU instead, slowly.",
    );
  }
  const description = describe(adapter);
  if (description.isSoftware && !software) {
    release();
    throw new NoGpuError(
      `The only GPU that was found is ${adapterLabel(description)}, which is the CPU. Install a Vulkan driver for the GPU, ` +
        "or say --software.",
    );
  }
  return { gpu, adapter, description, release };
}

function describe({ info }: GPUAdapter): AdapterDescription {
  const { vendor, architecture, device, description } = info;
  const isSoftware =
    info.isFallbackAdapter ||
    /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${architecture} ${device} ${description}`);
  return { vendor, architecture, device, description, isSoftware };
}

export function adapterLabel({ vendor, architecture, device, description }: AdapterDescription): string {
  return [vendor, architecture, device, description].filter((part) => part !== "").join(" ");
}
