/**
 * A loaded model as its callers see it: text requests in, text events out. `LanguageModel` binds a tokenizer and a chat
 * template to the engine (scheduler + backend); it is the same at the edge and at the origin.
 *
 * Cooperative stepping: nobody runs in the background. Whoever reads a generation drives the engine, and a step moves
 * every running sequence, so concurrent readers batch by themselves and a reader that goes away stalls nobody.
 */
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import type { ChatMessage, GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";
import type { MaybePromise } from "./backend.ts";
import type { KvSource } from "./kv-archive.ts";
import type { SchedulerStats } from "./scheduler-stats.ts";

export interface LanguageModel {
  readonly id: string;
  readonly contextLength: number;
  /**
   * Validates and admits: everything that can be wrong with a request is thrown here as `ApiError` (context exceeded,
   * queue full, token id out of range, template refusal), before any event.
   */
  generate(request: GenerateRequest, options?: GenerateOptions): Generation;
  /** Vectors of prompts, admitted as `generate` admits: whoever wants them steps until they are there. */
  embed(request: EmbedRequest): Embedding;
  /** Ids of a prompt as `generate` would make them. @throws ApiError */
  tokenize(request: TokenizeRequest): Tokenized;
  /** @throws ApiError for an id that the model does not have */
  detokenize(request: DetokenizeRequest): Detokenized;
  /** Ids of a prompt as `generate` would make them. */
  tokenizeChat(messages: ChatMessage[]): number[];
  readonly stats: EngineStats;
}

export interface GenerateOptions {
  /**
   * Tokens of a transcript this prompt continues: when the rendered chat starts with `text`, its ids are taken as they
   * were generated and only the rest is tokenized, so that the cached prefix holds to the last token.
   */
  transcript?: Transcript;
  /**
   * Blocks that are no longer in the pool are restored from it, when the answer is about to be computed. It is read by
   * whoever drives this generation, and only then.
   */
  archive?: KvSource;
  /**
   * First tokens of the answer, from an earlier life of the same request with the same seed. They are computed and not
   * drawn again; their events come again first, without logprobs, and what follows is what would have followed then.
   * For one prompt with one choice; must leave at least one token to draw.
   */
  generatedTokens?: readonly number[];
  /** Its reader keeps all events in memory, so that they count as long as it lives. Default false. */
  keepsEvents?: boolean;
}

export interface Transcript {
  text: string;
  tokens: number[];
}

export interface Generation {
  readonly requestId: string;
  readonly numPromptTokens: number;
  /**
   * The next event; steps the engine while there is none. null after `done` or `error`. Synchronous with a synchronous
   * backend (no promise then crosses from one Durable Object to another).
   */
  next(): MaybePromise<GenerateEvent | null>;
  /** Next event if one is queued already; never steps. */
  poll(): GenerateEvent | null;
  /** Frees blocks and place at once; `next()` returns null from now on. Safe at any time, any number of times. */
  abort(): void;
  /** Prompt and output of choice 0 as text and ids, for the next turn's `GenerateOptions.transcript`. */
  transcript(): Transcript;
}

export interface Embedding {
  readonly hasEnded: boolean;
  /** A step of the engine for everybody. @returns false when there is nothing to do, or no backend to do it */
  step(): MaybePromise<boolean>;
  /** Once it has ended. @throws ApiError what failed */
  result(): Embeddings;
  /** Frees blocks and places at once. Safe at any time, any number of times. */
  abort(): void;
}

export interface EngineStats extends SchedulerStats {
  numRunning: number;
  numWaiting: number;
  numBlocks: number;
  numFreeBlocks: number;
  /** Blocks that hold reusable prefixes and no running sequence (a subset of the free ones). */
  numCachedBlocks: number;
  /** Answers that ended and whose blocks are held until they are archived. */
  numUnsaved: number;
  /** Tokens whose keys and values came from an archive. */
  numRestoredTokens: number;
}
