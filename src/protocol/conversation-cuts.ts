/** Where a conversation may be cut so that its end still is one: what the system said first stays, and what is left
 * begins with a user's message. */
import type { ChatMessage } from "./generate.ts";

/** @param numTruncated messages after the leading system ones */
export function withoutOldest(messages: readonly ChatMessage[], numTruncated: number): ChatMessage[] {
  const numSystem = numLeadingSystem(messages);
  return [...messages.slice(0, numSystem), ...messages.slice(numSystem + numTruncated)];
}

/** Numbers of messages that may be left out: up to another user's message. */
export function possibleCuts(messages: readonly ChatMessage[]): number[] {
  const turns = messages.slice(numLeadingSystem(messages));
  return turns.flatMap(({ role }, i) => (i > 0 && role === "user" ? [i] : []));
}

function numLeadingSystem(messages: readonly ChatMessage[]): number {
  const first = messages.findIndex(({ role }) => role !== "system");
  return first < 0 ? messages.length : first;
}
