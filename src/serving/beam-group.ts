/**
 * A beam search as the scheduler sees it: up to `width` sequences that stand beside each other among those who run, come
 * in, step, leave and end together, and exchange their blocks after each step.
 *
 * A beam that goes on in one candidate keeps its table; for each further candidate the table is copied and its blocks get
 * one more owner, and whoever writes into a shared block first copies it (`BlockManager.prepareWrite`). A beam without a
 * candidate gives its table back. Nothing is computed twice.
 *
 * Nobody hears of a search before it ends, and it depends on the prompt alone. So a group that is preempted, or loses its
 * backend, begins again with its first sequence, `root`, instead of coming back beam by beam. After a lost backend it
 * computes alone to its end, since it keeps no token that would show that it is not to blame.
 */
import type { BeamParams } from "../protocol/generate.ts";
import { GREEDY } from "../protocol/greedy.ts";
import type { BlockCopy, RowResult } from "./backend.ts";
import { BeamSearch, type FinishedBeam, numCandidates } from "./beam-search.ts";
import type { BlockManager } from "./block-manager.ts";
import { Sequence, type SequenceListener, type SequenceOptions } from "./sequence.ts";

/** What the owner of a search hears; `failed` at any time, and nothing after it. */
export interface BeamListener extends Omit<SequenceListener, "token" | "finished"> {
  /** The end: `results` is what came out. The blocks are free already. */
  searched(): void;
}

export type BeamGroupOptions = BeamParams &
  Pick<SequenceOptions, "requestId" | "promptTokens" | "maxTokens" | "scorePrompt" | "cacheSalt" | "priority"> & {
    /** Alternatives that the result reports for each token. The search may look at more. */
    numLogprobs: number;
    isEnd: (token: number) => boolean;
    listener: BeamListener;
  };

export class BeamGroup {
  readonly width: number;
  readonly #options: BeamGroupOptions;
  /** As many as there can be beams. */
  readonly #members: readonly Sequence[];
  #search: BeamSearch;
  #numLive = 1;
  /** Of the step that is taken in, one for each live beam so far. */
  #rows: RowResult[] = [];
  #isPrefilled = false;

  constructor(options: BeamGroupOptions) {
    if (options.maxTokens < 1) throw new Error(`A beam search needs at least 1 token, got ${options.maxTokens}.`);
    this.#options = options;
    this.width = options.width;
    this.#search = this.#newSearch();
    const { requestId, promptTokens, maxTokens, scorePrompt, cacheSalt, priority = 0, listener } = options;
    this.#members = Array.from({ length: options.width }, () => {
      return new Sequence({
        requestId,
        promptTokens,
        maxTokens,
        scorePrompt,
        cacheSalt,
        priority,
        sampling: GREEDY,
        rngKey: [0, 0],
        numLogprobs: Math.max(options.numLogprobs, numCandidates(options)),
        listener: memberListener(listener),
        beams: this,
      });
    });
    for (const member of this.#members.slice(1)) member.status = "unborn";
  }

  /** What the scheduler is given, and what stands for the whole group. It is live as long as any beam is. */
  get root(): Sequence {
    return this.#members[0]!;
  }

  /** The beams that go on, best first. */
  get live(): readonly Sequence[] {
    return this.#members.slice(0, this.#numLive);
  }

  /** Most KV blocks that it can ever hold: full ones of the prompt are every beam's, the others each beam's own. */
  numBlocksMax(blocks: Pick<BlockManager, "blockTokens" | "numBlocksFor">): number {
    const { promptTokens, maxTokens, width } = this.#options;
    const numShared = Math.floor(promptTokens.length / blocks.blockTokens);
    return numShared + width * (blocks.numBlocksFor(promptTokens.length + maxTokens) - numShared);
  }

  /**
   * Makes the next position of every beam writable.
   * @param copies what has to be copied before they are written; also of an earlier call that gave false
   * @returns false when too few blocks are free: to be called again when there are more
   */
  prepareWrite(blocks: BlockManager, copies: BlockCopy[]): boolean {
    return this.live.every(({ table, numComputed }) =>
      blocks.prepareWrite(table!, numComputed, numComputed + 1, copies),
    );
  }

  /**
   * The row of a live beam's last token, beam after beam.
   * @returns true when it is the last one: `goOn` is to be called
   */
  take(row: RowResult): boolean {
    if (!this.#isPrefilled) {
      this.#isPrefilled = true;
      this.#options.listener.prefilled();
    }
    this.#rows.push(row);
    return this.#rows.length === this.#numLive;
  }

  /**
   * Chooses the next beams and hands the tables over to them.
   * @returns false when the search is over: the tables are as they were, and `results` is what came out
   */
  goOn(blocks: BlockManager): boolean {
    const steps = this.#search.advance(this.#rows.splice(0));
    if (steps.length === 0) return false;
    const parents = this.live.map(({ table, outputTokens }) => ({ table: table!, tokens: [...outputTokens] }));
    const { numComputed } = this.root;
    const tables = steps.map(({ parent }, i) => {
      const isFirst = steps.findIndex((other) => other.parent === parent) === i;
      return isFirst ? parents[parent]!.table : blocks.fork(parents[parent]!.table);
    });
    for (const { table } of parents) if (!tables.includes(table)) blocks.release(table);
    for (const [i, { parent, token }] of steps.entries()) {
      const member = this.#members[i]!;
      member.status = "running";
      member.table = tables[i]!;
      member.setComputed(numComputed);
      setTokens(member, [...parents[parent]!.tokens, token]);
    }
    for (const member of this.live.slice(steps.length)) this.#retire(member);
    this.#numLive = steps.length;
    return true;
  }

  /** The best beams so far, best first; none before the prompt is computed. */
  results(): FinishedBeam[] {
    const { numLogprobs } = this.#options;
    return this.#search.results().map(({ rows, ...beam }) => {
      return { ...beam, rows: rows.map((row) => ({ ...row, top: row.top.slice(0, numLogprobs) })) };
    });
  }

  /** Nothing runs any more: its owner hears what came out. */
  end(): void {
    const { listener } = this.#options;
    try {
      listener.searched();
    } catch (error) {
      listener.failed(error);
    }
  }

  /** It lost its blocks. The root has to be computed again, and then the search begins again. */
  restart(): void {
    this.#search = this.#newSearch();
    this.#rows = [];
    for (const member of this.#members.slice(1)) this.#retire(member);
    setTokens(this.root, []);
    this.#numLive = 1;
  }

  #newSearch(): BeamSearch {
    const { promptTokens, maxTokens, width, lengthPenalty, stopsEarly, isEnd } = this.#options;
    return new BeamSearch({
      width,
      lengthPenalty,
      stopsEarly,
      isEnd,
      numPromptTokens: promptTokens.length,
      numTokensMax: maxTokens,
    });
  }

  #retire(member: Sequence): void {
    member.status = "unborn";
    member.table = null;
    member.setComputed(0);
    setTokens(member, []);
  }
}

function setTokens({ outputTokens }: Sequence, tokens: readonly number[]): void {
  outputTokens.splice(0, outputTokens.length);
  for (const token of tokens) outputTokens.push(token);
}

/** A beam ends with its group, so two of these are never called. */
function memberListener(listener: BeamListener): SequenceListener {
  return {
    admitted: (sequence) => listener.admitted(sequence),
    promptScored: (position, row) => listener.promptScored(position, row),
    prefilled: () => listener.prefilled(),
    token: () => false,
    finished: () => {},
    failed: (error) => listener.failed(error),
  };
}
