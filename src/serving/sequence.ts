/**
 * One choice being generated, as the scheduler sees it: tokens, how many of them have their KV computed, blocks, and
 * what to tell its owner. Prefill and decode are not two modes: a step computes positions
 * [numComputed, numComputed + chunk), and where that reaches the last known token, its row is sampled.
 *
 * waiting ─▶ running ─▶ finished; running ─▶ waiting when preempted or when the backend is lost (its blocks are given up,
 * its tokens are kept and computed again). Parallel samples of one prompt are one sequence with `siblings` until the prompt is computed; then
 * the last row is sampled once for each and the siblings fork its blocks.
 */

import { type ApiError, invalidRequest } from "../protocol/errors.ts";
import type { SamplingParams } from "../protocol/generate.ts";
import { adapterSalt } from "./adapter-salt.ts";
import type { RowOutput, RowResult, RowSample, StepSequence } from "./backend.ts";
import type { BeamGroup } from "./beam-group.ts";
import type { BlockTable } from "./block-table.ts";
import type { KvSource } from "./kv-archive.ts";
import type { TokenFilter } from "./token-filter.ts";
import { onlyToken } from "./token-mask.ts";

/**
 * What the owner of a sequence hears. No method may call back into the scheduler, except `failed`, which may abort.
 * An error thrown by one fails its sequence; `admitted` must not throw.
 */
export interface SequenceListener {
  /** First place in a batch; `numCachedTokens` is known. Not called for siblings. */
  admitted(sequence: Sequence): void;
  /** With `embeds`: the next row with an embedding. With `scorePrompt`: the row that predicts prompt token `position` (1 … numPromptTokens − 1), in order, each once. */
  promptScored(position: number, row: RowResult): void;
  /** The prompt is computed, before the first token. Called for siblings too. */
  prefilled(): void;
  /** A token was generated. @returns true to end the sequence here */
  token(row: RowResult): boolean;
  /** The end: "stop" when `token` said so, "length" when `maxTokens` is reached. The blocks are free already. */
  finished(reason: "stop" | "length"): void;
  /** The step it was in failed. Nothing more will be heard. */
  failed(error: unknown): void;
}

export interface SequenceOptions {
  requestId: string;
  promptTokens: readonly number[];
  /** Most tokens to generate; 0 = only compute the prompt. */
  maxTokens: number;
  sampling: SamplingParams;
  rngKey: [number, number];
  numLogprobs: number | null;
  /** Report the logprob of every prompt token; those rows must be computed, so the prefix cache is not used for them. */
  scorePrompt: boolean;
  /** Report embeddings, of all prompt tokens or of the last, as `promptScored` does logprobs. Without `scorePrompt`, and
   * with `maxTokens` 0. */
  embeds?: "all" | "last";
  cacheSalt: string;
  /** One of the backend's adapters, from 1 on. Default 0: the base alone. */
  adapter?: number;
  /** Lower ones are admitted first. Default 0. */
  priority?: number;
  listener: SequenceListener;
  /** Tokens of an earlier life: computed again, not drawn again. Fewer than `maxTokens`; not with siblings. */
  outputTokens?: readonly number[];
  /** What it may draw, before its first token. Default: anything. Its own, and not with beams. */
  filter?: TokenFilter | null;
  /** Where its owner keeps its blocks: those that the pool has lost are restored before it is admitted. */
  archive?: KvSource;
  /** Further samples of the same prompt. They are not added to the scheduler themselves. */
  siblings?: Sequence[];
  /** It is a beam of this search: the group says which tokens it has. */
  beams?: BeamGroup;
}

/** "unborn": a sibling whose prompt is still being computed, or a beam that no candidate goes on in. */
export type SequenceStatus = "unborn" | "waiting" | "running" | "finished";

export class Sequence {
  readonly requestId: string;
  readonly promptTokens: readonly number[];
  readonly outputTokens: number[];
  readonly maxTokens: number;
  readonly scorePrompt: boolean;
  /** Of the prefix cache: the options', and the adapter. */
  readonly cacheSalt: string;
  readonly adapter: number;
  readonly priority: number;
  readonly listener: SequenceListener;
  readonly archive: KvSource | null;
  readonly beams: BeamGroup | null;
  siblings: Sequence[];

  status: SequenceStatus = "waiting";
  /** Present while running. */
  table: BlockTable | null = null;
  /** What its archive has may not be in the pool. */
  needsRestore = false;
  /** How often it was looked at for admission since its owner last restored something. */
  numStepsUnrestored = 0;
  /** Positions whose KV is in `table`. */
  numComputed = 0;
  /** Prompt positions whose row has been reported (`scorePrompt`). */
  numScored = 0;
  /** Prompt tokens found in the prefix cache at the first admission; null before it. */
  numCachedTokens: number | null = null;
  /** Steps it was in that took the backend down, since its last token. */
  numCrashes = 0;
  /** Guessed tokens that steps carried for it, and those of them that were generated. */
  numDraftedTokens = 0;
  numAcceptedTokens = 0;

  readonly #embeds: "all" | "last" | null;
  readonly #numLogprobs: number | null;
  readonly #sample: RowSample;
  /** In step with `outputTokens`. */
  readonly #filter: TokenFilter | null;
  /** Reused for every decode step: no garbage per token. */
  readonly #decodeToken: number[] = [0];
  readonly #decodeOutputs: RowOutput[];
  readonly #step: StepSequence;

  constructor(options: SequenceOptions) {
    if (options.promptTokens.length === 0) throw new Error("A sequence needs at least one prompt token.");
    const numOutput = options.outputTokens?.length ?? 0;
    if (numOutput > 0 && numOutput >= options.maxTokens) {
      throw new Error(`A sequence of at most ${options.maxTokens} tokens cannot go on after ${numOutput}.`);
    }
    this.outputTokens = [...(options.outputTokens ?? [])];
    this.requestId = options.requestId;
    this.promptTokens = options.promptTokens;
    this.maxTokens = options.maxTokens;
    this.scorePrompt = options.scorePrompt;
    this.adapter = options.adapter ?? 0;
    this.cacheSalt = adapterSalt(options.cacheSalt, this.adapter);
    this.priority = options.priority ?? 0;
    this.listener = options.listener;
    this.archive = options.archive ?? null;
    this.beams = options.beams ?? null;
    this.awaitRestore();
    this.siblings = options.siblings ?? [];
    for (const sibling of this.siblings) sibling.status = "unborn";
    this.#embeds = options.embeds ?? null;
    this.#numLogprobs = options.numLogprobs;
    this.#sample = {
      params: options.sampling,
      rngKey: options.rngKey,
      rngCounter: 0,
      promptTokens: this.promptTokens,
      outputTokens: this.outputTokens,
      allowed: null,
    };
    this.#filter = options.filter ?? null;
    for (const token of this.outputTokens) this.#filter?.accept(token);
    this.#sample.allowed = this.#filter?.mask ?? null;
    this.#decodeOutputs = [this.#sampleRow(0)];
    this.#step = {
      tokens: this.#decodeToken,
      startPosition: 0,
      blockTable: [],
      adapter: this.adapter,
      outputs: this.#decodeOutputs,
    };
  }

  /** What its next token may be depends on the one before, so that nothing can be planned without it. */
  get isFiltered(): boolean {
    return this.#filter !== null;
  }

  get numTokens(): number {
    return this.promptTokens.length + this.outputTokens.length;
  }

  /** Tokens still to be computed before the next one can be sampled; 1 = decode. */
  get numRemaining(): number {
    return this.numTokens - this.numComputed;
  }

  /** Most tokens (prompt and output) it can ever have. */
  get numTokensMax(): number {
    return this.promptTokens.length + this.maxTokens;
  }

  /** Places among those who run that are taken or kept for it. The first beam has those of all. */
  get numPlaces(): number {
    if (this.beams === null) return 1;
    return this === this.beams.root ? this.beams.width : 0;
  }

  /** How far the prefix cache may be used: the last token is always computed, and so is every row yet to be scored. */
  get numReusableMax(): number {
    if (this.#embeds === "all") return Math.min(this.numScored, this.numTokens - 1);
    const isScoring = this.scorePrompt && this.numScored < this.promptTokens.length - 1;
    return isScoring ? this.numScored : this.numTokens - 1;
  }

  /** It is going to be admitted, and nobody knows what the pool has of it then. */
  awaitRestore(): void {
    this.needsRestore = this.archive !== null;
    this.numStepsUnrestored = 0;
  }

  /**
   * A token was generated.
   * @returns true where nothing may follow it
   * @throws ApiError where something would have to follow, and everything is forbidden
   */
  append(token: number): boolean {
    this.outputTokens.push(token);
    const filter = this.#filter;
    if (filter === null) return false;
    filter.accept(token);
    this.#sample.allowed = filter.mask;
    if (filter.state === "stuck" && this.outputTokens.length < this.maxTokens)
      throw noTokenLeft(this.outputTokens.length);
    return filter.state === "over";
  }

  /** Of guesses at the tokens to come, those up to the first that its filter does not allow, or that ends it. */
  allowedDrafts(drafts: readonly number[]): readonly number[] {
    if (this.#filter === null) return drafts;
    const filters = filtersAlong(this.#filter, drafts);
    return drafts.slice(0, filters.length - 1);
  }

  /** The tokens to come that its filter leaves no choice about, at most so many. */
  forcedTokens(numMax: number): number[] {
    const forced: number[] = [];
    let filter = this.#filter;
    while (filter !== null && filter.state === "open" && forced.length < numMax) {
      const token = filter.mask === null ? null : onlyToken(filter.mask);
      if (token === null) break;
      forced.push(token);
      filter = filter.clone();
      filter.accept(token);
    }
    return forced;
  }

  tokenAt(position: number): number {
    const numPrompt = this.promptTokens.length;
    return position < numPrompt ? this.promptTokens[position]! : this.outputTokens[position - numPrompt]!;
  }

  /**
   * This sequence's part of a batch: the next `numTokens` positions. The object is reused by the next call.
   * Outputs come as: prompt rows to score, in order; then its own sample; then one sample for each sibling.
   */
  stepInput(numTokens: number): StepSequence {
    const step = this.#step;
    step.startPosition = this.numComputed;
    step.blockTable = this.table!.view;
    const samples = this.numComputed + numTokens === this.numTokens && this.maxTokens > 0;
    if (numTokens === 1 && samples && this.siblings.length === 0) {
      this.#decodeToken[0] = this.tokenAt(this.numComputed);
      this.#sample.rngCounter = this.outputTokens.length;
      this.#decodeOutputs[0]!.row = 0;
      step.tokens = this.#decodeToken;
      step.outputs = this.#decodeOutputs;
      return step;
    }
    const start = this.numComputed;
    step.tokens = Array.from({ length: numTokens }, (_, row) => this.tokenAt(start + row));
    step.outputs = [];
    if (this.scorePrompt) {
      const end = Math.min(start + numTokens, this.promptTokens.length - 1);
      for (let position = Math.max(start, this.numScored); position < end; position++) {
        step.outputs.push(this.#scoreRow(position - start, this.promptTokens[position + 1]!));
      }
    }
    if (this.#embeds !== null) {
      const first = this.#embeds === "all" ? this.numScored : this.promptTokens.length - 1;
      for (let position = Math.max(start, first); position < start + numTokens; position++) {
        step.outputs.push(embeddingRow(position - start));
      }
    }
    if (samples) {
      this.#sample.rngCounter = this.outputTokens.length;
      for (const choice of [this, ...this.siblings]) step.outputs.push(choice.#sampleRow(numTokens - 1));
    }
    return step;
  }

  /**
   * A decode that carries `drafts` of the tokens after it: row i is sampled as if drafts[0 … i) had been generated. The
   * object is reused as in `stepInput`. The drafts are ones that its filter allows (`allowedDrafts`).
   */
  draftedInput(drafts: readonly number[]): StepSequence {
    const numOutput = this.outputTokens.length;
    const outputTokens = Int32Array.from([...this.outputTokens, ...drafts]);
    const step = this.#step;
    step.tokens = [this.tokenAt(this.numComputed), ...drafts];
    step.startPosition = this.numComputed;
    step.blockTable = this.table!.view;
    const filters = this.#filter === null ? null : filtersAlong(this.#filter, drafts);
    step.outputs = Array.from(step.tokens, (_, row) => ({
      ...this.#sampleRow(row),
      sample: {
        ...this.#sample,
        rngCounter: numOutput + row,
        outputTokens: outputTokens.subarray(0, numOutput + row),
        allowed: maskOf(filters?.[row]),
      },
    }));
    return step;
  }

  /** How its next token would be drawn, had these been generated. */
  sampleAfter(drafts: readonly number[]): RowSample {
    const outputTokens = [...this.outputTokens, ...drafts];
    const allowed = maskOf(this.#filter === null ? undefined : filtersAlong(this.#filter, drafts)[drafts.length]);
    return { ...this.#sample, rngCounter: outputTokens.length, outputTokens, allowed };
  }

  #sampleRow(row: number): RowOutput {
    return { row, sample: this.#sample, scoreToken: null, numLogprobs: this.#numLogprobs, wantLogits: false };
  }

  #scoreRow(row: number, scoreToken: number): RowOutput {
    return { row, sample: null, scoreToken, numLogprobs: this.#numLogprobs ?? 0, wantLogits: false };
  }
}

/** The filter itself, then as it would be behind each draft, up to the first that it does not allow or that ends it. */
function filtersAlong(first: TokenFilter, drafts: readonly number[]): TokenFilter[] {
  const filters = [first];
  for (const draft of drafts) {
    const last = filters.at(-1)!;
    if (last.state !== "open" || !last.allows(draft)) break;
    const next = last.clone();
    next.accept(draft);
    if (next.state === "stuck") break;
    filters.push(next);
  }
  return filters;
}

function embeddingRow(row: number): RowOutput {
  return { row, sample: null, scoreToken: null, numLogprobs: null, wantLogits: false, wantEmbedding: true };
}

/** Behind an end there is no mask: what is drawn there is not looked at. */
function maskOf(filter: TokenFilter | undefined): Uint32Array | null {
  return filter?.state === "open" ? filter.mask : null;
}

function noTokenLeft(numTokens: number): ApiError {
  return invalidRequest(
    `After ${numTokens} tokens this request's constraint, allowed_token_ids, bad_words and min_tokens leave no token that ` +
      "may come next. Loosen one of them.",
  );
}
