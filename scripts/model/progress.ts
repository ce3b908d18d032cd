/** Progress of a long copy: a bar on a terminal, a line for every tenth anywhere else. */

import type { Host, Screen } from "./host.ts";

const BAR_CHARS = 24;
const REDRAW_MS = 100;

export class Progress {
  readonly #label: string;
  readonly #totalBytes: number | null;
  readonly #screen: Screen;
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  #doneBytes = 0;
  #drawnAtMs = Number.NEGATIVE_INFINITY;
  #numTenthsSaid = -1;

  /** @param totalBytes null = unknown, then only what is done is shown */
  constructor(label: string, totalBytes: number | null, host: Pick<Host, "progressScreen" | "nowMs">) {
    this.#label = label;
    this.#totalBytes = totalBytes;
    this.#screen = host.progressScreen;
    this.#nowMs = host.nowMs;
    this.#startedAtMs = host.nowMs();
  }

  update(doneBytes: number): void {
    this.#doneBytes = doneBytes;
    if (this.#screen.isTTY) this.#redraw();
    else if (this.#totalBytes !== null) this.#sayTenth(this.#totalBytes);
  }

  /** Draws the last state and ends the line. */
  end(): void {
    if (!this.#screen.isTTY) return;
    this.#draw();
    this.#screen.write("\n");
  }

  #redraw(): void {
    if (this.#nowMs() - this.#drawnAtMs >= REDRAW_MS) this.#draw();
  }

  #draw(): void {
    this.#drawnAtMs = this.#nowMs();
    const seconds = (this.#drawnAtMs - this.#startedAtMs) / 1000;
    const speed = seconds > 0.5 ? `  ${formatBytes(this.#doneBytes / seconds)}/s` : "";
    this.#screen.write(`\r${this.#label} ${this.#bar()}${speed}\u001b[K`);
  }

  #bar(): string {
    const total = this.#totalBytes;
    if (total === null) return formatBytes(this.#doneBytes);
    const share = Math.min(this.#doneBytes / total, 1);
    const numFull = Math.round(share * BAR_CHARS);
    const bar = "█".repeat(numFull) + "░".repeat(BAR_CHARS - numFull);
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    return `${bar}${percent}  ${formatBytes(this.#doneBytes)} of ${formatBytes(total)}`;
  }

  #sayTenth(totalBytes: number): void {
    const numTenths = Math.floor(Math.min(this.#doneBytes / totalBytes, 1) * 10);
    if (numTenths <= this.#numTenthsSaid) return;
    this.#numTenthsSaid = numTenths;
    this.#screen.write(`${this.#label} ${numTenths * 10}% of ${formatBytes(totalBytes)}\n`);
  }
}

/** "91.7 MB": decimal, as disks and the platform's limits count. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
