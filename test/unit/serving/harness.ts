/** Drives an engine over the hash model: what was generated, with every invariant checked at every step. */

import type { Backend, BackendLimits, RowResult } from "../../../src/serving/backend.ts";
import type { Drafter } from "../../../src/serving/drafter.ts";
import { Engine, type EngineLimits } from "../../../src/serving/engine.ts";
import { Sequence, type SequenceListener, type SequenceOptions } from "../../../src/serving/sequence.ts";
import { GREEDY, generateAlone, HashModelBackend } from "./hash-model.ts";

/** Remembers all that a sequence tells its owner, and refuses what must not happen. */
export class Probe implements SequenceListener {
  readonly tokens: number[] = [];
  readonly rows: RowResult[] = [];
  readonly scores: RowResult[] = [];
  numAdmitted = 0;
  numPrefilled = 0;
  end: "stop" | "length" | null = null;
  error: unknown = null;
  /** Ends the sequence with this token. */
  stopToken: number | null = null;

  admitted(): void {
    this.numAdmitted++;
  }

  promptScored(position: number, row: RowResult): void {
    this.scores.push(row);
    if (position !== this.scores.length) throw new Error(`Score of ${position} as number ${this.scores.length}.`);
  }

  prefilled(): void {
    this.numPrefilled++;
  }

  token(row: RowResult): boolean {
    if (this.end !== null || this.error !== null) throw new Error("A token after the end.");
    this.tokens.push(row.token);
    this.rows.push(row);
    return row.token === this.stopToken;
  }

  finished(reason: "stop" | "length"): void {
    if (this.end !== null) throw new Error("Finished twice.");
    this.end = reason;
  }

  failed(error: unknown): void {
    this.error = error;
  }
}

export interface Job {
  sequence: Sequence;
  probe: Probe;
}

export function job(promptTokens: number[], maxTokens: number, options: Partial<SequenceOptions> = {}): Job {
  const probe = new Probe();
  const sequence = new Sequence({
    requestId: "test",
    promptTokens,
    maxTokens,
    sampling: GREEDY,
    rngKey: [0, 0],
    numLogprobs: null,
    scorePrompt: false,
    cacheSalt: "",
    listener: probe,
    ...options,
  });
  return { sequence, probe };
}

export interface RigOptions {
  createDrafter?: (sequence: Sequence) => Drafter;
  /** A model that drafts. */
  draftBackend?: Backend;
  /** What the backend says of itself. */
  rowCost?: number;
}

export class Rig {
  readonly backend: HashModelBackend;
  readonly engine: Engine;
  readonly faults: unknown[] = [];
  readonly crashes: unknown[] = [];

  constructor(
    limits: Partial<BackendLimits> = {},
    engineLimits: Partial<EngineLimits> = {},
    { createDrafter, draftBackend, rowCost }: RigOptions = {},
  ) {
    this.backend = new HashModelBackend(limits, rowCost);
    this.engine = new Engine({
      backend: this.backend,
      ...(createDrafter === undefined ? {} : { createDrafter }),
      ...(draftBackend === undefined ? {} : { draftBackend }),
      limits: { numWaitingMax: 1000, ...engineLimits },
      onCrash: (error) => this.crashes.push(error),
      onFault: (error) => this.faults.push(error),
    });
  }

  /** One step between two checks; what no table and no prefix holds may not be read. */
  step(): boolean {
    this.backend.poison(this.engine.vacantBlocks());
    const isMoved = this.engine.step();
    if (typeof isMoved !== "boolean") throw new Error("This rig steps synchronously.");
    this.engine.checkInvariants();
    return isMoved;
  }

  /** Steps until nothing is left to do. */
  drain(numStepsMax = 10_000): number {
    for (let numSteps = 0; numSteps < numStepsMax; numSteps++) {
      if (!this.step()) return numSteps;
    }
    throw new Error(`Not done after ${numStepsMax} steps.`);
  }

  run(...jobs: Job[]): void {
    for (const { sequence } of jobs) this.engine.add([sequence]);
    this.drain();
  }

  get numFree(): number {
    return this.engine.stats.numFreeBlocks;
  }
}

/** What a greedy job must have generated. */
export function expected({ sequence, probe }: Job, vocabSize = 32): number[] {
  const tokens = generateAlone(sequence.promptTokens, {
    numTokens: sequence.maxTokens,
    vocabSize,
    adapter: sequence.adapter,
  });
  const end = probe.stopToken === null ? -1 : tokens.indexOf(probe.stopToken);
  return end < 0 ? tokens : tokens.slice(0, end + 1);
}

/** Token ids that differ from sequence to sequence but are the same in each run. */
export function tokensFrom(seed: number, length: number, vocabSize = 32): number[] {
  return Array.from({ length }, (_, i) => (Math.imul(seed * 7919 + i * 104729, 2654435761) >>> 16) & 0xffff).map(
    (value) => value % vocabSize,
  );
}
