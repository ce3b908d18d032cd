/**
 * Which requests should meet on one lane, because they probably share a prefix: those with the same `prompt_cache_key`,
 * else those whose prompts begin alike. For a chat that is the system message and the first user message, so all turns
 * of a conversation meet; a system message longer than `PREFIX_CHARS` brings all its conversations together.
 */
import type { EmbedRequest } from "../protocol/embed.ts";
import type { GenerateRequest, Prompt } from "../protocol/generate.ts";
import type { WireRequest } from "../protocol/wire-request.ts";

/** About 256 tokens: 16 KV blocks of 16, below which a shared prefix hardly pays. */
const PREFIX_CHARS = 1024;

export function routingKeyOf({ generate, promptCacheKey }: Pick<WireRequest, "generate" | "promptCacheKey">): string {
  if (promptCacheKey !== null) return `key:${promptCacheKey}`;
  return `prefix:${fnv1a(`${generate.cacheSalt}\n${prefixOf(generate)}`).toString(16)}`;
}

/** Embeddings find a prefix as answers do. */
export function embedRoutingKey({ cacheSalt, prompts }: EmbedRequest): string {
  return `prefix:${fnv1a(`${cacheSalt}\n${prefixOf({ prompts })}`).toString(16)}`;
}

function prefixOf({ prompts }: Pick<GenerateRequest, "prompts">): string {
  return textOf(prompts[0]!).slice(0, PREFIX_CHARS);
}

function textOf(prompt: Prompt): string {
  if (prompt.kind === "text") return prompt.text;
  if (prompt.kind === "tokens") return prompt.tokens.slice(0, PREFIX_CHARS).join(" ");
  const firstUser = prompt.messages.findIndex((message) => message.role === "user");
  const opening = firstUser < 0 ? prompt.messages : prompt.messages.slice(0, firstUser + 1);
  return opening.map(({ role, content }) => `${role}:${content.slice(0, PREFIX_CHARS)}`).join("\n");
}

/** FNV-1a, 32 bits. Spreads load; nothing secret depends on it. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
