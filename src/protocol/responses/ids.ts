/**
 * Ids of responses and of the items in them. A response's id names its conversation, the object that keeps it, and then
 * itself; an item's id names its response and its place there. So any of them leads to the record by itself.
 *
 * The conversation's part is a capability of at least 120 random bits, as a session's id is: who has it may read,
 * continue and delete what was said.
 */
import { isSessionId } from "../sessions.ts";

export interface ResponseAddress {
  conversation: string;
  /** Tells the responses of a conversation apart. */
  response: string;
}

const OWN_CHARS = 16;

const RESPONSE_ID = /^resp_([0-9A-Za-z-]{22,64})_([0-9A-Za-z-]{16})$/;
const ITEM_ID = /^(?:msg|rs|fc)_([0-9A-Za-z-]{22,64})_([0-9A-Za-z-]{16})_(?:0|[1-9]\d{0,5})$/;

/** @param conversation null = a new one @param randomId at least 128 random bits in [0-9A-Za-z-] */
export function newResponseAddress(conversation: string | null, randomId: () => string): ResponseAddress {
  return { conversation: conversation ?? randomId(), response: randomId().slice(-OWN_CHARS) };
}

export function responseIdOf({ conversation, response }: ResponseAddress): string {
  return `resp_${conversation}_${response}`;
}

/** null for what is none of ours. */
export function parseResponseId(id: string): ResponseAddress | null {
  return addressOf(RESPONSE_ID.exec(id));
}

export type ItemKind = "msg" | "rs" | "fc";

export function itemIdOf(kind: ItemKind, responseId: string, index: number): string {
  return `${kind}_${responseId.slice("resp_".length)}_${index}`;
}

/** The response that an item belongs to; null for what is none of ours. */
export function parseItemId(id: string): ResponseAddress | null {
  return addressOf(ITEM_ID.exec(id));
}

function addressOf(match: RegExpExecArray | null): ResponseAddress | null {
  if (match === null || !isSessionId(match[1]!)) return null;
  return { conversation: match[1]!, response: match[2]! };
}
