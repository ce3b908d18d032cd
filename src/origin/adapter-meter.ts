/**
 * Which adapters' requests run and wait: vLLM's `lora_requests_info`, which has their names as labels and the time as its
 * value, so that a dashboard takes the newest. There is one series at a time for a model, and none without adapters.
 */
import type { OriginMetrics } from "./metrics.ts";

export class AdapterMeter {
  readonly #metrics: OriginMetrics;
  readonly #modelId: string;
  readonly #names: readonly string[];
  /** Requests by adapter. */
  readonly #waiting = new Map<string, number>();
  readonly #running = new Map<string, number>();
  #labels: Record<string, string | number> | null = null;

  constructor(metrics: OriginMetrics, modelId: string, names: readonly string[]) {
    this.#metrics = metrics;
    this.#modelId = modelId;
    this.#names = names;
    this.#show();
  }

  waits(name: string): void {
    this.#change(name, this.#waiting, 1);
  }

  runs(name: string): void {
    this.#change(name, this.#waiting, -1);
    this.#change(name, this.#running, 1);
  }

  /** @param wasRunning it waits no more, then */
  leaves(name: string, wasRunning: boolean): void {
    this.#change(name, wasRunning ? this.#running : this.#waiting, -1);
  }

  #change(name: string, counts: Map<string, number>, by: 1 | -1): void {
    if (!this.#names.includes(name)) return;
    const count = (counts.get(name) ?? 0) + by;
    if (count === 0) counts.delete(name);
    else counts.set(name, count);
    this.#show();
  }

  #show(): void {
    if (this.#names.length === 0) return;
    const { loraInfo } = this.#metrics;
    if (this.#labels !== null) loraInfo.remove(this.#labels);
    this.#labels = {
      model_name: this.#modelId,
      max_lora: this.#names.length,
      running_lora_adapters: [...this.#running.keys()].sort().join(","),
      waiting_lora_adapters: [...this.#waiting.keys()].sort().join(","),
    };
    loraInfo.setToCurrentTime(this.#labels);
  }
}
