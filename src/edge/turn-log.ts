/**
 * The events of one answer so far, and what follows from them. Pure: the same list gives the same answer, whether it was
 * just generated or comes back from storage.
 */
import type { FinishReason, GenerateEvent, Timings } from "../protocol/generate.ts";

export class TurnLog {
  readonly events: GenerateEvent[] = [];
  text = "";
  readonly #tokenIds: number[] = [];
  #numDeltas = 0;
  numCachedTokens = 0;
  #start: Extract<GenerateEvent, { type: "start" }> | null = null;
  #reason: FinishReason | null = null;
  #hasEnded = false;

  constructor(events: readonly GenerateEvent[] = []) {
    for (const event of events) this.push(event);
  }

  /** Its last event is there. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get reason(): FinishReason | null {
    return this.#reason;
  }

  /**
   * What a generation needs to give these events again and go on. All that was given out but the last token: that one
   * may be what ended the answer, and a generation must have something left to draw.
   */
  generatedTokens(): number[] {
    return this.#tokenIds.slice(0, -1);
  }

  /** An origin gives no ids, and about one token at a time. */
  get numTokens(): number {
    return this.#tokenIds.length || this.#numDeltas;
  }

  push(event: GenerateEvent): void {
    this.events.push(event);
    if (event.type === "start") {
      this.#start = event;
      this.numCachedTokens = event.cachedTokens;
    }
    if (event.type === "delta") this.text += event.text;
    if (event.type === "delta" || event.type === "reasoning") {
      this.#numDeltas++;
      // One by one: a spread of many arguments has a limit.
      for (const id of event.tokenIds) this.#tokenIds.push(id);
    }
    if (event.type === "finish") this.#reason = event.reason;
    if (event.type === "error") this.#reason = "abort";
    if (event.type === "done" || event.type === "error") this.#hasEnded = true;
  }

  /** What is missing of a well-ordered answer that ends here, by a stop or a fault. */
  abortEvents(model: string, numPromptTokens: number, timings: Timings): GenerateEvent[] {
    const promptTokens = this.#start?.promptTokens ?? numPromptTokens;
    const events: GenerateEvent[] = [];
    if (this.#start === null) events.push({ type: "start", model, promptTokens, cachedTokens: 0 });
    if (this.#reason === null) events.push({ type: "finish", index: 0, reason: "abort", stop: null });
    const usage = { promptTokens, completionTokens: this.numTokens, cachedTokens: this.numCachedTokens };
    events.push({ type: "done", usage, timings });
    return events;
  }
}
