/**
 * Which requests should meet on one lane, because they probably share a prefix: those with the same `prompt_cache_key`,
 * else those whose prompts begin alike. For a chat that is the system message and the first user message, so all turns
 * of a conversation meet; a system message longer than `PREFIX_CHARS` brings all its conversations together.
 */
import type { GenerateRequest, Prompt } from "../protocol/generate.ts";
import { fnv1a } from "./fnv1a.ts";

/** About 256 tokens: 16 KV blocks of 16, below which a shared prefix hardly pays. */
const PREFIX_CHARS = 1024;

/** Of an answer or of vectors, which find a prefix alike. */
type Prompted = Pick<GenerateRequest, "prompts" | "cacheSalt">;

/** @param promptCacheKey null = the client names none */
export function routingKeyOf(request: Prompted, promptCacheKey: string | null = null): string {
  if (promptCacheKey !== null) return `key:${promptCacheKey}`;
  return `prefix:${fnv1a(`${request.cacheSalt}\n${prefixOf(request)}`).toString(16)}`;
}

function prefixOf({ prompts }: Prompted): string {
  return textOf(prompts[0]!).slice(0, PREFIX_CHARS);
}

function textOf(prompt: Prompt): string {
  if (prompt.kind === "text") return prompt.text;
  if (prompt.kind === "tokens") return prompt.tokens.slice(0, PREFIX_CHARS).join(" ");
  const firstUser = prompt.messages.findIndex((message) => message.role === "user");
  const opening = firstUser < 0 ? prompt.messages : prompt.messages.slice(0, firstUser + 1);
  return opening.map(({ role, content }) => `${role}:${content.slice(0, PREFIX_CHARS)}`).join("\n");
}
