/**
 * How a session's turn gets its generation from an origin: from the question that was asked, or, after a fault, from what
 * is stored of the turn. The origin refuses here what it must, and nothing is stored yet.
 */
import type { SessionTurnRequest } from "../../api/model-service.ts";
import { possibleCuts, withoutOldest } from "../../protocol/conversation-cuts.ts";
import { ApiError, unavailable } from "../../protocol/errors.ts";
import type { ChatMessage, GenerateEvent, GenerateRequest } from "../../protocol/generate.ts";
import type { Env } from "../env.ts";

import type { TurnLog } from "../turn-log.ts";
import type { OriginModel } from "./origin.ts";
import { isUnavailability } from "./origin-events.ts";
import { OriginGeneration } from "./origin-generation.ts";
import { originHost } from "./origin-pool.ts";
import { OriginTurnSource } from "./origin-turn-source.ts";

const RETRY_S = 5;

export interface OriginQuestion {
  env: Env;
  model: OriginModel;
  /** Id of the session: its turns go to the same origin. */
  sessionId: string;
  /** Under which the session's prefixes may be shared (`cacheSalt`). It names the owner, so no origin sees it as it is. */
  salt: string;
  request: SessionTurnRequest["request"];
  messages: readonly ChatMessage[];
}

interface Opened {
  generation: OriginGeneration;
  first: GenerateEvent[];
}

/**
 * @param truncates leave the oldest messages out where the origin says that all are too many
 * @throws ApiError where no origin takes it
 */
export async function askOrigin(
  question: OriginQuestion,
  truncates: boolean,
  numTruncatedBefore: number,
): Promise<{ source: OriginTurnSource; numTruncated: number }> {
  const open = (numTruncated: number) => opened(question, withoutOldest(question.messages, numTruncated), null);
  const { opening, numTruncated } = truncates
    ? await openTruncated(question.messages, numTruncatedBefore, open)
    : { opening: await open(0), numTruncated: 0 };
  return { source: sourceOf(question.model, opening, null), numTruncated };
}

/**
 * The same turn once more.
 *
 * @returns null where it cannot go on: its first words were said, and no origin can be given them
 * @throws ApiError 503 where no origin takes it now
 */
export async function askOriginAgain(question: OriginQuestion, log: TurnLog): Promise<OriginTurnSource | null> {
  const { model } = question;
  if (log.reason !== null) return sourceOf(model, null, log);
  const answerSoFar = log.text === "" ? null : log.text;
  if (answerSoFar !== null && !canGoOn(model)) return null;
  try {
    return sourceOf(model, await opened(question, question.messages, log), log);
  } catch (cause) {
    throw cause instanceof ApiError && isUnavailability(cause) ? unavailable(cause.message, RETRY_S) : cause;
  }
}

function canGoOn({ places }: OriginModel): boolean {
  return places.some(({ origin }) => origin.knowsExtras);
}

function sourceOf(model: OriginModel, opening: Opened | null, known: TurnLog | null): OriginTurnSource {
  return new OriginTurnSource({
    model: model.id,
    generation: opening?.generation ?? null,
    first: opening?.first ?? [],
    known,
    canGoOn: canGoOn(model),
  });
}

async function opened(
  { env, model, sessionId, salt, request }: OriginQuestion,
  messages: readonly ChatMessage[],
  known: TurnLog | null,
): Promise<Opened> {
  const generation = new OriginGeneration(originHost(env), {
    model,
    request: await withPrompt(request, model.id, messages, salt, known?.numTokens ?? 0),
    affinityKey: `session:${sessionId}`,
    answerSoFar: known === null || known.text === "" ? null : known.text,
  });
  await generation.open();
  // Whoever falls back must know before the turn begins.
  const first = model.fallback === null ? [] : await generation.firstEvents();
  return { generation, first };
}

async function withPrompt(
  request: SessionTurnRequest["request"],
  model: string,
  messages: readonly ChatMessage[],
  salt: string,
  numKnownTokens: number,
): Promise<GenerateRequest> {
  const { maxTokens } = request;
  return {
    ...request,
    model,
    prompts: [{ kind: "chat", messages: [...messages] }],
    n: 1,
    beams: null,
    echo: false,
    maxTokens: maxTokens === null ? null : Math.max(maxTokens - numKnownTokens, 1),
    cacheSalt: await hashed(salt),
  };
}

async function hashed(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `session:${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * With as few messages left out as need be. Only the origin can count tokens; each try that is too long costs a refusal,
 * so the cut is found by halving.
 */
async function openTruncated(
  messages: readonly ChatMessage[],
  numTruncatedBefore: number,
  open: (numTruncated: number) => Promise<Opened>,
): Promise<{ opening: Opened; numTruncated: number }> {
  const cuts = possibleCuts(messages);
  const before = cuts.includes(numTruncatedBefore) ? [numTruncatedBefore] : [];
  for (const numTruncated of [0, ...before]) {
    const opening = await unlessTooLong(() => open(numTruncated));
    if (opening !== null) return { opening, numTruncated };
  }
  let found: { opening: Opened; numTruncated: number } | null = null;
  for (let low = 0, high = cuts.length - 1; low <= high; ) {
    const middle = (low + high) >> 1;
    const opening = await unlessTooLong(() => open(cuts[middle]!));
    if (opening === null) low = middle + 1;
    else {
      found?.opening.generation.abort();
      found = { opening, numTruncated: cuts[middle]! };
      high = middle - 1;
    }
  }
  if (found !== null) return found;
  const numTruncated = cuts.at(-1) ?? 0;
  return { opening: await open(numTruncated), numTruncated };
}

async function unlessTooLong<T>(run: () => Promise<T>): Promise<T | null> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof ApiError && cause.code === "context_length_exceeded") return null;
    throw cause;
  }
}
