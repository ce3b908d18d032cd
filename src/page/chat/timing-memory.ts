/**
 * What the page measured of a chat's answers, kept for as long as its tab lives, so that a reload still shows the
 * numbers under each answer. The server does not know them: they are the reader's, network and all.
 */
import type { AnswerTiming } from "./metrics.ts";
import type { KeyValueStore } from "./preferences.ts";

const PREFIX = "runnel.timings.";

export class TimingMemory {
  readonly #storage: KeyValueStore | null;

  /** @param storage of the tab, so that it empties itself */
  constructor(storage: KeyValueStore | null) {
    this.#storage = storage;
  }

  /** @param timings one for each message of the chat, null where none was measured */
  save(sessionId: string, timings: (AnswerTiming | null)[]): void {
    try {
      this.#storage?.setItem(PREFIX + sessionId, JSON.stringify(timings));
    } catch {
      // Full or forbidden: the numbers last as long as the page.
    }
  }

  recall(sessionId: string): (AnswerTiming | null)[] {
    try {
      return JSON.parse(this.#storage?.getItem(PREFIX + sessionId) ?? "[]") as (AnswerTiming | null)[];
    } catch {
      return [];
    }
  }
}
