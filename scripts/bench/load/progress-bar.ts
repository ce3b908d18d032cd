/** How many requests are done: a bar on a terminal, a line for every quarter anywhere else. */
import type { Screen } from "../../model/host.ts";

const BAR_CHARS = 30;

export class ProgressBar {
  readonly #label: string;
  readonly #total: number;
  readonly #screen: Screen;
  #numQuartersSaid = 0;

  constructor(label: string, total: number, screen: Screen) {
    this.#label = label;
    this.#total = total;
    this.#screen = screen;
  }

  update(numDone: number): void {
    const share = numDone / this.#total;
    if (this.#screen.isTTY) {
      const numFull = Math.round(share * BAR_CHARS);
      const bar = "█".repeat(numFull) + "░".repeat(BAR_CHARS - numFull);
      this.#screen.write(`\r${this.#label} ${bar} ${numDone} of ${this.#total}\u001b[K${share === 1 ? "\n" : ""}`);
      return;
    }
    const numQuarters = Math.floor(4 * share);
    if (numQuarters === this.#numQuartersSaid) return;
    this.#numQuartersSaid = numQuarters;
    this.#screen.write(`${this.#label}: ${numDone} of ${this.#total}\n`);
  }
}
