/**
 * The one internal request and event model. Every wire format (OpenAI, sessions, later Ollama and TGI) decodes into a
 * `GenerateRequest` and encodes from `GenerateEvent`s; engines know nothing else. Plain JSON data, so that both may
 * cross an RPC or NDJSON border unchanged. Defaults are resolved by the decoder: no field is optional here.
 */

/** How the next token is drawn. Neutral values switch a filter off, so `temperature: 0` is plain greedy decoding. */
export interface SamplingParams {
  /** 0 = greedy (argmax, lowest id wins ties); otherwise logits are divided by it. */
  temperature: number;
  /** Keep the k most likely tokens; 0 = off. */
  topK: number;
  /** Nucleus: keep the smallest set whose probability reaches this; 1 = off. */
  topP: number;
  /** Drop tokens less likely than this share of the most likely one; 0 = off. */
  minP: number;
  /** Divides positive and multiplies negative logits of every token seen in prompt or output (CTRL paper); 1 = off. */
  repetitionPenalty: number;
  /** Subtracted once from the logit of every token already generated (OpenAI); 0 = off. */
  presencePenalty: number;
  /** Subtracted for each time the token was generated (OpenAI); 0 = off. */
  frequencyPenalty: number;
  /** [token id, added to its logit] pairs, each id once. */
  logitBias: [number, number][];
  /** Same seed, same text, whatever else is in the batch; null = the engine draws one. A whole number within ±2^63
   * (`BigInt.asUintN(64, BigInt(seed))` are its bits), rounded to a double where JSON carried more than 53 bits. */
  seed: number | null;
}

export type ChatRole = "system" | "user" | "assistant" | "tool";

/** A call that a model made. */
export interface ToolCall {
  /** Names the call in the conversation; a result carries it. */
  id: string;
  name: string;
  /** JSON text, as the model wrote it; normally of an object. */
  arguments: string;
}

export interface ChatMessage {
  role: ChatRole;
  content: string;
  name?: string;
  /** Of an assistant's message. */
  toolCalls?: ToolCall[];
  /** Of a tool's message: the call whose result `content` is. */
  toolCallId?: string;
  /** What an assistant thought before it answered. */
  reasoning?: string;
}

/** A function that the model may call. */
export interface Tool {
  name: string;
  description: string;
  /** JSON Schema of the arguments, an object's; null = any object. */
  parameters: Record<string, unknown> | null;
  /** The arguments of a call must satisfy `parameters` whichever way the call came about. */
  strict: boolean;
}

/** Whether tools may be called, must be, or which one must be. */
export type ToolChoice = "none" | "auto" | "required" | { name: string };

export type Prompt =
  | { kind: "text"; text: string }
  | { kind: "tokens"; tokens: number[] }
  /**
   * `answerSoFar`: words of the answer that are there already, to go on from; absent = a new answer.
   * `tools`: what the template tells the model of; absent = none, and the answer is not read for calls.
   * `templateArguments`: further variables for the chat template, such as `enable_thinking`.
   */
  | {
      kind: "chat";
      messages: ChatMessage[];
      answerSoFar?: string;
      tools?: Tool[];
      templateArguments?: Record<string, unknown>;
    };

/** What an answer's text must be, from its first character to its last; enforced at every sampled token. */
export type Constraint =
  /** A JSON object of any shape. */
  | { kind: "json" }
  /** A JSON text that this JSON Schema describes. */
  | { kind: "schema"; schema: unknown }
  | { kind: "regex"; pattern: string }
  /** One of these, word for word. */
  | { kind: "choice"; choices: string[] }
  /** A context-free grammar in GBNF, llama.cpp's notation; its root is `root`. */
  | { kind: "grammar"; text: string };

export interface BeamParams {
  /** Beams that are followed side by side, at least `n`. */
  width: number;
  /** Power of the length that a beam's sum of logprobs is divided by: 0 compares sums, 1 means; more favours long ones. */
  lengthPenalty: number;
  /** End as soon as `width` answers are complete; false = when no other can become better than they are. */
  stopsEarly: boolean;
}

export interface GenerateRequest {
  /** For errors and logs. The client may choose it (`x-request-id`), so it is not unique: never a key. */
  requestId: string;
  model: string;
  /** Several only for /v1/completions. Choice index = promptIndex · n + i. */
  prompts: Prompt[];
  /** Choices for each prompt; they share the prompt's KV blocks. */
  n: number;
  /** Search for the likeliest answers instead of drawing them; the choices are the `n` best, best first. null = draw. */
  beams: BeamParams | null;
  sampling: SamplingParams;
  /** Most tokens to generate for a choice; null = whatever the context leaves. 0 is allowed (echo, cache warming). */
  maxTokens: number | null;
  stopStrings: string[];
  stopTokenIds: number[];
  /** Go on after an end-of-generation token (benchmarks). */
  ignoreEos: boolean;
  /** What every choice must match as a whole; null = anything. */
  constraint: Constraint | null;
  /** Of the tools of a chat prompt; "none" where it has none. */
  toolChoice: ToolChoice;
  /** A choice may make several calls; false = one at most. */
  parallelToolCalls: boolean;
  /** No end-of-generation or stop token comes before so many tokens, unless the constraint is met. 0 = off. */
  minTokens: number;
  /** The only tokens that may come; null = all. */
  allowedTokenIds: number[] | null;
  /** Words that do not come, in the tokens that they are split into by themselves and behind a space. */
  badWords: string[];
  /** Number of alternatives reported for each generated token; null = no logprobs. Log softmax of the raw logits,
   * before temperature, penalties and bias. */
  logprobs: number | null;
  /** Emit the prompt itself first, as a `prompt` event for each prompt (with logprobs where those are asked for). */
  echo: boolean;
  /** Salt of the prefix cache: requests share cached KV only with the same salt. */
  cacheSalt: string;
  /** Place in the waiting line: lower first, then by arrival. Orders nothing where a host ignores it. */
  priority: number;
}

export interface TokenLogprob {
  id: number;
  /** The token's own text; U+FFFD where its bytes are no whole UTF-8. `bytes` is exact. */
  text: string;
  bytes: number[];
  /** null for the first prompt token, which nothing predicts. */
  logprob: number | null;
  top: { id: number; text: string; bytes: number[]; logprob: number }[];
}

/** "tool_calls": the model ended by itself, and made calls. */
export type FinishReason = "stop" | "length" | "tool_calls" | "abort";

export interface Usage {
  /** Sum over the prompts (a prompt counts once, whatever `n` is). */
  promptTokens: number;
  completionTokens: number;
  /** Prompt tokens whose KV came from the prefix cache. */
  cachedTokens: number;
  /** Tokens that were guessed ahead, by what their verification said. Absent where nothing was guessed. */
  drafts?: { accepted: number; rejected: number };
  /** Of `completionTokens`, those that the model thought with. Absent where it does not think, or nobody knows. */
  reasoningTokens?: number;
}

/** Durations by the engine's clock. On production Workers that clock only moves with I/O: treat as a lower bound. */
export interface Timings {
  queueMs: number;
  /** Admission to first token. */
  ttftMs: number;
  totalMs: number;
}

/**
 * Order of a stream: `start`, then for each choice `prompt`? (`delta` | `reasoning` | `toolCall` | `toolArguments`)*
 * `finish`, choices interleaved, then `done`. Calls of a choice are numbered from 0 in the order in which `toolCall`
 * opens them; the texts of a call's `toolArguments`, which come before the next call opens, add up to its arguments.
 * `error` may come instead of any of them and is the last event. `event-order.ts` is the executable form.
 */
export type GenerateEvent =
  | { type: "start"; model: string; promptTokens: number; cachedTokens: number }
  | { type: "prompt"; index: number; text: string; tokens: TokenLogprob[] | null }
  | { type: "delta"; index: number; text: string; tokenIds: number[]; tokens: TokenLogprob[] | null }
  /** What the model thinks before it answers; no part of the answer's text. */
  | { type: "reasoning"; index: number; text: string; tokenIds: number[]; tokens: TokenLogprob[] | null }
  | { type: "toolCall"; index: number; call: number; id: string; name: string }
  /** A piece of the JSON text of a call's arguments. */
  | { type: "toolArguments"; index: number; call: number; text: string }
  | { type: "finish"; index: number; reason: FinishReason; stop: string | number | null }
  | { type: "done"; usage: Usage; timings: Timings }
  | { type: "error"; status: number; errorType: string; code: string | null; param: string | null; message: string };
