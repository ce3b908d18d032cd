/** The measuring code inside workerd: a Worker that fetches the model from its neighbour service and measures. */
import type { KernelModules } from "../../src/backends/cpu/kernel-set.ts";
import { KERNELS } from "../../src/edge/kernels.ts";
import type { EngineJob } from "./engine-job.ts";
import { measureEngine } from "./measure-engine.ts";

interface Env {
  /** A folder with the model as `model.gguf`. */
  FILES: Fetcher;
}

/** Locally the clock runs during computation too, in steps of a millisecond. */
const host = {
  nowMs: () => performance.now(),
  pause: () => scheduler.wait(0),
};

export default {
  async fetch(request, env) {
    try {
      const { kernelSets, settings } = await request.json<Pick<EngineJob, "kernelSets" | "settings">>();
      const modules: KernelModules = Object.fromEntries(kernelSets.map((set) => [set, KERNELS[set]]));
      const file = await (await env.FILES.fetch("http://files/model.gguf")).bytes();
      return Response.json(await measureEngine(file, "model.gguf", modules, settings, host));
    } catch (error) {
      return new Response(String((error as Error).stack ?? error), { status: 500 });
    }
  },
} satisfies ExportedHandler<Env>;
