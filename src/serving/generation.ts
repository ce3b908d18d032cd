/**
 * One request being answered: its sequences in the engine, its choices as text, its events in a queue.
 *
 * Whoever calls `next` drives the engine while the own queue is empty, so a step made for one reader fills the queues of
 * all. A reader that stops costs only its own queue, and that is bounded: at most one `delta` for each token it asked
 * for, and a handful of others. `heldBytes` says how much that is, for an owner that cannot afford it (`drop`).
 */
import { ApiError, internalError } from "../protocol/errors.ts";
import type { BeamParams, GenerateEvent, GenerateRequest, TokenLogprob, Usage } from "../protocol/generate.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { transcriptAfter } from "../text/transcript.ts";
import { type AnswerPlan, readingOf } from "./answer-plan.ts";
import type { MaybePromise, RowResult } from "./backend.ts";
import { BeamGroup } from "./beam-group.ts";
import { Choice } from "./choice.ts";
import type { Engine } from "./engine.ts";
import { EventQueue } from "./event-queue.ts";
import { heapBytes } from "./event-size.ts";
import type { KvSource } from "./kv-archive.ts";
import type { Generation, Transcript } from "./language-model.ts";
import type { EncodedPrompt } from "./prompt-encoder.ts";
import { choiceKey } from "./rng-key.ts";
import { Sequence, type SequenceListener } from "./sequence.ts";
import { TokenFilter } from "./token-filter.ts";
import { tokenLogprob } from "./token-logprob.ts";
import type { TokenRules } from "./token-rules.ts";

export interface GenerationOptions {
  model: string;
  /** See `SequenceOptions`. */
  adapter: number;
  request: GenerateRequest;
  prompts: readonly EncodedPrompt[];
  /** How the answers are read, for each prompt; null = all is words. */
  plans: readonly (AnswerPlan | null)[];
  /** Of every choice; null = any token may come. */
  rules: TokenRules | null;
  /** See `GenerateOptions`. */
  generatedTokens: readonly number[];
  keepsEvents: boolean;
  archive?: KvSource | undefined;
  /** Most tokens of a choice, for each prompt. */
  maxTokens: readonly number[];
  /** Seed, as two u32 lanes. */
  seed: readonly [number, number];
  engine: Engine;
  tokenizer: Tokenizer;
  /** Milliseconds; only differences count. */
  clock: () => number;
}

export class TextGeneration implements Generation {
  readonly requestId: string;
  readonly numPromptTokens: number;
  /** One for each prompt, its further choices as siblings: what the engine is to add. */
  readonly sequences: readonly Sequence[];
  readonly #options: GenerationOptions;
  readonly #choices: Choice[] = [];
  readonly #allSequences: Sequence[] = [];
  /** With beams: what gives out the best ones so far. */
  readonly #searches: (() => void)[] = [];
  readonly #events = new EventQueue<GenerateEvent>();
  #heldBytes = 0;
  readonly #createdMs: number;
  #firstAdmittedMs: number | null = null;
  #firstTokenMs: number | null = null;
  #hasEnded = false;

  constructor(options: GenerationOptions) {
    this.#options = options;
    this.#createdMs = options.clock();
    this.requestId = options.request.requestId;
    this.numPromptTokens = options.prompts.reduce((sum, prompt) => sum + prompt.tokens.length, 0);
    this.sequences = options.prompts.map((prompt, promptIndex) => {
      const { beams } = options.request;
      return beams === null ? this.#sequenceOf(prompt, promptIndex) : this.#searchOf(prompt, promptIndex, beams);
    });
  }

  /** No event will come any more (some may still be queued). */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  next(): MaybePromise<GenerateEvent | null> {
    while (true) {
      const event = this.poll();
      if (event !== null || this.#hasEnded) return event;
      const step = this.#stepOrWait();
      if (step !== true) return this.#nextAfter(step);
    }
  }

  poll(): GenerateEvent | null {
    const event = this.#events.shift();
    if (event !== null && !this.keepsEvents) this.#heldBytes -= heapBytes(event);
    return event;
  }

  /** Its last event has been read. */
  get isDrained(): boolean {
    return this.#hasEnded && this.#events.length === 0;
  }

  /** Heap that its events hold, about: those that nobody has read, and those that its owner keeps. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** See `GenerateOptions`. */
  get keepsEvents(): boolean {
    return this.#options.keepsEvents;
  }

  /**
   * A bounded piece of work: some of its own blocks restored, or a step of the engine for everybody.
   * @returns false when there is nothing to do, or no backend to do it
   */
  step(): MaybePromise<boolean> {
    const { engine } = this.#options;
    return this.sequences.some((sequence) => engine.restoreSome(sequence)) || engine.step();
  }

  abort(): void {
    this.#end();
    this.#events.clear();
    this.#heldBytes = 0;
  }

  /** Ends with this error in the place of everything that was not read. */
  drop(error: ApiError): void {
    this.abort();
    this.#pushError(error);
  }

  /** Ends every choice with what it has, as one that came to its `maxTokens`. Events not read yet stay. */
  endEarly(): void {
    if (this.#hasEnded) return;
    this.#start();
    for (const sequence of this.#allSequences) this.#options.engine.abort(sequence);
    for (const giveOut of this.#searches) giveOut();
    for (const choice of this.#choices) if (!choice.isFinished) choice.finish("length");
    this.#done();
  }

  transcript(): Transcript {
    const { tokenizer, prompts } = this.#options;
    return transcriptAfter(tokenizer, prompts[0]!, this.#allSequences[0]!.outputTokens, this.#choices[0]!.text);
  }

  async #nextAfter(step: Promise<unknown>): Promise<GenerateEvent | null> {
    let moved: MaybePromise<unknown> = step;
    while (true) {
      await moved;
      const event = this.poll();
      if (event !== null || this.#hasEnded) return event;
      moved = this.#stepOrWait();
    }
  }

  /** One step, or the wait for the engine's next backend. */
  #stepOrWait(): true | Promise<unknown> {
    const { engine } = this.#options;
    const step = this.step();
    if (step !== false) return step;
    if (engine.isAlive) throw new Error(`Request ${this.requestId} is open, but there is nothing to compute.`);
    return engine.whenAlive();
  }

  #sequenceOf(prompt: EncodedPrompt, promptIndex: number): Sequence {
    const { request, seed, archive, rules } = this.#options;
    const scores: TokenLogprob[] | null = request.echo && request.logprobs !== null ? [] : null;
    const sequences: Sequence[] = [];
    // Backwards, because the first choice is the one that carries the others.
    for (let i = request.n - 1; i >= 0; i--) {
      const sequence = new Sequence({
        requestId: request.requestId,
        promptTokens: prompt.tokens,
        maxTokens: this.#options.maxTokens[promptIndex]!,
        sampling: request.sampling,
        rngKey: choiceKey(seed, i),
        numLogprobs: request.logprobs,
        scorePrompt: scores !== null,
        cacheSalt: request.cacheSalt,
        adapter: this.#options.adapter,
        priority: request.priority,
        listener: this.#listener(prompt, promptIndex * request.n + i, scores),
        outputTokens: this.#options.generatedTokens,
        filter: rules === null ? null : new TokenFilter(rules),
        siblings: i === 0 ? sequences.toReversed() : [],
        ...(i === 0 && archive !== undefined && { archive }),
      });
      sequences.push(sequence);
    }
    this.#allSequences.push(...sequences.reverse());
    return sequences[0]!;
  }

  /** The choices are given out when the search is over, each in one piece. */
  #searchOf(prompt: EncodedPrompt, promptIndex: number, beams: BeamParams): Sequence {
    const { request, tokenizer, maxTokens } = this.#options;
    const scores: TokenLogprob[] | null = request.echo && request.logprobs !== null ? [] : null;
    const choices = Array.from({ length: request.n }, (_, i) => this.#choiceAt(promptIndex * request.n + i));
    const stopTokenIds = new Set(request.stopTokenIds);
    const giveOut = (): void => {
      for (const [i, { rows, reason }] of group.results().slice(0, request.n).entries()) {
        const choice = choices[i]!;
        if (choice.isFinished) return;
        for (const row of rows) choice.push(row);
        choice.finish(reason);
      }
    };
    const group = new BeamGroup({
      ...beams,
      requestId: request.requestId,
      promptTokens: prompt.tokens,
      maxTokens: maxTokens[promptIndex]!,
      numLogprobs: request.logprobs ?? 0,
      scorePrompt: scores !== null,
      cacheSalt: request.cacheSalt,
      priority: request.priority,
      isEnd: (token) => stopTokenIds.has(token) || (!request.ignoreEos && tokenizer.endOfGenerationIds.has(token)),
      listener: {
        ...this.#promptListener(prompt, choices, scores),
        searched: () => {
          this.#firstTokenMs ??= this.#options.clock();
          giveOut();
          if (this.#choices.every((other) => other.isFinished)) this.#done();
        },
      },
    });
    this.#searches.push(giveOut);
    this.#allSequences.push(group.root);
    return group.root;
  }

  #choiceAt(index: number): Choice {
    const { request, tokenizer, seed, plans } = this.#options;
    const plan = plans[Math.floor(index / request.n)] ?? null;
    const choice = new Choice({
      index,
      tokenizer,
      stopStrings: request.stopStrings,
      stopTokenIds: new Set(request.stopTokenIds),
      ignoreEos: request.ignoreEos,
      numLogprobs: request.logprobs,
      reading: plan === null ? null : readingOf(plan, request.requestId, seed, index),
      emit: (event) => this.#push(event),
    });
    this.#choices[index] = choice;
    return choice;
  }

  /** @param choices of the prompt, whose text they begin with where it is echoed */
  #promptListener(prompt: EncodedPrompt, choices: readonly Choice[], scores: TokenLogprob[] | null) {
    const { request, tokenizer } = this.#options;
    return {
      admitted: () => this.#start(),
      promptScored: (position: number, row: RowResult) => {
        if (position === 1) scores!.push(tokenLogprob(tokenizer, prompt.tokens[0]!, null, []));
        scores!.push(tokenLogprob(tokenizer, prompt.tokens[position]!, row.logprob, row.top));
      },
      prefilled: () => {
        if (!request.echo) return;
        // A prompt of one token has no row that scores anything.
        if (scores?.length === 0) scores.push(tokenLogprob(tokenizer, prompt.tokens[0]!, null, []));
        for (const { index } of choices)
          this.#push({ type: "prompt", index, text: prompt.visibleText, tokens: scores });
      },
      failed: (error: unknown) => this.#fail(error),
    };
  }

  #listener(prompt: EncodedPrompt, index: number, scores: TokenLogprob[] | null): SequenceListener {
    const choice = this.#choiceAt(index);
    return {
      ...this.#promptListener(prompt, [choice], scores),
      token: (row: RowResult) => {
        this.#firstTokenMs ??= this.#options.clock();
        return choice.push(row);
      },
      finished: (reason) => {
        choice.finish(reason);
        if (this.#choices.every((other) => other.isFinished)) this.#done();
      },
    };
  }

  /** With several prompts the event counts the cached tokens of those admitted so far; `done` counts all. */
  #start(): void {
    if (this.#firstAdmittedMs !== null) return;
    this.#firstAdmittedMs = this.#options.clock();
    this.#push({
      type: "start",
      model: this.#options.model,
      promptTokens: this.numPromptTokens,
      cachedTokens: this.#numCachedTokens(),
    });
    const { generatedTokens } = this.#options;
    for (const token of generatedTokens) this.#choices[0]!.push({ token, logprob: 0, top: [], logits: null });
  }

  #done(): void {
    this.#hasEnded = true;
    const nowMs = this.#options.clock();
    this.#push({
      type: "done",
      usage: {
        promptTokens: this.numPromptTokens,
        completionTokens: this.#choices.reduce((sum, choice) => sum + choice.numTokens, 0),
        cachedTokens: this.#numCachedTokens(),
        ...this.#draftUsage(),
        ...this.#reasoningUsage(),
      },
      timings: {
        queueMs: this.#firstAdmittedMs! - this.#createdMs,
        ttftMs: (this.#firstTokenMs ?? nowMs) - this.#createdMs,
        totalMs: nowMs - this.#createdMs,
      },
    });
  }

  /** Called once: ending aborts the other sequences, and what is aborted does not fail any more. */
  #fail(error: unknown): void {
    this.#start();
    this.#end();
    this.#pushError(error instanceof ApiError ? error : internalError(this.requestId));
  }

  #pushError({ status, type: errorType, code, param, message }: ApiError): void {
    this.#push({ type: "error", status, errorType, code, param, message });
  }

  #push(event: GenerateEvent): void {
    this.#heldBytes += heapBytes(event);
    this.#events.push(event);
  }

  #end(): void {
    this.#hasEnded = true;
    for (const sequence of this.#allSequences) this.#options.engine.abort(sequence);
  }

  #draftUsage(): Pick<Usage, "drafts"> {
    const drafted = this.#allSequences.reduce((sum, sequence) => sum + sequence.numDraftedTokens, 0);
    const accepted = this.#allSequences.reduce((sum, sequence) => sum + sequence.numAcceptedTokens, 0);
    return drafted === 0 ? {} : { drafts: { accepted, rejected: drafted - accepted } };
  }

  #reasoningUsage(): Pick<Usage, "reasoningTokens"> {
    if (!this.#options.plans.some((plan) => plan?.isThinker)) return {};
    return { reasoningTokens: this.#choices.reduce((sum, choice) => sum + choice.numReasoningTokens, 0) };
  }

  #numCachedTokens(): number {
    return this.sequences.reduce((sum, sequence) => sum + (sequence.numCachedTokens ?? 0), 0);
  }
}
