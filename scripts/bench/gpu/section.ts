/**
 * One part of `npm run bench:gpu`. Each runs in a process of its own: a driver that crashes takes nothing with it but what
 * that section had not reported yet, and the GPU's memory is free again afterwards. What it reports goes to the parent value
 * by value (`SectionMessage`).
 */
export interface SectionContext {
  /** A CPU that plays a GPU, at toy sizes. */
  software: boolean;
  /** What earlier sections reported, by section and name. */
  known: Record<string, Record<string, unknown>>;
  /** Python with torch and transformers. */
  python: string;
  /** A value of the section's results; the last one of a name counts. */
  report(name: string, value: unknown): void;
  /** A line of progress. */
  say(text: string): void;
  /** Is there time for something more? What is under way is killed a little later. */
  hasTime(): boolean;
}

export interface Section {
  name: string;
  /** In seconds, on a GPU and in software. */
  budgetS: { gpu: number; software: number };
  run(context: SectionContext): Promise<void>;
}

/** From a section's process to its parent. */
export type SectionMessage =
  | { type: "value"; name: string; value: unknown }
  | { type: "say"; text: string }
  | { type: "failed" | "skipped"; message: string };

/** What a section's process is told, as JSON in its second argument. */
export interface SectionOrder {
  name: string;
  budgetS: number;
  software: boolean;
  known: SectionContext["known"];
  python: string;
}

export type SectionStatus = "done" | "failed" | "out of time" | "skipped";

export interface SectionResult {
  status: SectionStatus;
  seconds: number;
  /** Why it failed or was skipped. */
  reason?: string;
  /** As far as it came. */
  values: Record<string, unknown>;
}
