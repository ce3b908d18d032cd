/**
 * The first request of a run: is the server there, does it take token ids, and how many tokens is a word to it? What it
 * answers is in no statistic.
 */
import { CommandError } from "../../model/errors.ts";
import { type LoadRequest, type PromptSource, randomRequests, wordsOf } from "./prompts.ts";
import { type LoadTarget, streamRequest, type WirePrompt } from "./stream-request.ts";

export type PromptKind = "tokens" | "text";

export interface PromptForm {
  kind: PromptKind;
  /** Words that make as many tokens; 1 for token ids. */
  wordsPerToken: number;
}

/** Long enough that what a server puts around a prompt does not matter. */
const PROBE_WORDS = 100;

/** @param wanted "auto": ids where the server takes them @throws CommandError where the server does not answer */
export async function probe(
  target: LoadTarget,
  wanted: PromptKind | "auto",
  source: PromptSource,
): Promise<PromptForm> {
  const lengths = { inputTokens: PROBE_WORDS, outputTokens: 1, spread: 0 };
  const [request] = randomRequests(1, lengths, source) as [LoadRequest];
  const ask = (kind: PromptKind) =>
    streamRequest(target, wirePrompt(request, kind), 1, { startMs: 0, queueMs: 0, promptTokens: PROBE_WORDS });
  let refusal: string | null = null;
  if (wanted !== "text" && target.endpoint === "completions") {
    const { error } = await ask("tokens");
    if (error === null) return { kind: "tokens", wordsPerToken: 1 };
    refusal = error;
  }
  if (wanted !== "tokens") {
    const { error, promptTokens } = await ask("text");
    if (error === null) return { kind: "text", wordsPerToken: PROBE_WORDS / Math.max(1, promptTokens) };
    refusal = error;
  }
  throw new CommandError(
    `${target.baseUrl} does not answer a first request: ${refusal ?? "chats take no token ids; leave --prompts out"}. ` +
      "Check --url, --model, --endpoint and --prompts; --respect-eos leaves out a field that some servers refuse.",
  );
}

export function wirePrompt({ prompt }: LoadRequest, kind: PromptKind): WirePrompt {
  return kind === "tokens" ? prompt : wordsOf(prompt);
}
