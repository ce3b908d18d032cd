/** A model behind the border between processes, with engines over the hash model on the other side. */
import { systemClock } from "../../../src/api/clock.ts";
import type { EventStream } from "../../../src/api/model-service.ts";
import { ModelMeter } from "../../../src/origin/meters.ts";
import { createMetrics } from "../../../src/origin/metrics.ts";
import { RECOVERY_LIMITS } from "../../../src/origin/recovery.ts";
import { RemoteModel } from "../../../src/origin/remote-model.ts";
import { SUPERVISOR_LIMITS } from "../../../src/origin/supervisor.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import { CONFIG, LiveEngine } from "./engines.ts";

/** Of requests that bring none. */
export const DRAWN_SEED = 4711;

export const LIMITS = { ...SUPERVISOR_LIMITS, ...RECOVERY_LIMITS };

interface StartOptions {
  pauseMs?: number;
  unreadBytesMax?: number;
  /** To be called with each life, before it hears of anything. */
  born?: (life: LiveEngine) => void;
}

export async function started(limits: Partial<EngineLimits> = {}, options: StartOptions = {}) {
  const { pauseMs = 5, unreadBytesMax = 1e6, born = () => {} } = options;
  const lives: LiveEngine[] = [];
  const metrics = createMetrics();
  const model = new RemoteModel({
    config: CONFIG,
    spawn: (listener) => {
      const life = new LiveEngine(listener, limits);
      born(life);
      lives.push(life);
      return life;
    },
    clock: systemClock,
    limits: { ...LIMITS, pauseMs },
    drawSeed: () => DRAWN_SEED,
    unreadBytesMax,
    meter: new ModelMeter(metrics, "tiny", () => performance.now()),
    log: () => {},
  });
  await model.supervisor.start();
  const value = async (name: string) => {
    const metric = await metrics.registry.getSingleMetric(name)!.get();
    return metric.values.reduce((sum, { value }) => sum + value, 0);
  };
  return { model, lives, value, stop: () => model.supervisor.stop() };
}

export async function all(stream: EventStream): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for (let event = await stream.next(); event !== null; event = await stream.next()) events.push(event);
  return events;
}
