/** Sessions through the routes, for the tests of what happens to them. */
import { chunksOf, post, request, STREAM } from "./stack.ts";

/** What the routes tell of a session, as far as these tests look. */
export interface WireSession {
  id: string;
  title: string;
  busy: boolean;
  truncated_messages: number;
  messages: { id: number; role: string; content: string; finish_reason: string | null }[];
}

export const send = (id: string, content: string, numTokens: number, fields: object = {}) =>
  post(`/v1/sessions/${id}/messages`, { content, max_tokens: numTokens, ...STREAM, ...fields });

export const regenerate = (id: string, numTokens: number, fields: object = {}) =>
  post(`/v1/sessions/${id}/regenerate`, { max_tokens: numTokens, ...STREAM, ...fields });

export const edit = (id: string, messageId: number, content: string, numTokens: number) =>
  post(`/v1/sessions/${id}/messages/${messageId}`, { content, max_tokens: numTokens, ...STREAM }, { method: "PUT" });

export const resume = (id: string, lastEventId: string | null = null) =>
  request(`/v1/sessions/${id}/stream`, { headers: lastEventId === null ? {} : { "last-event-id": lastEventId } });

export async function info(id: string): Promise<WireSession> {
  const response = await request(`/v1/sessions/${id}`);
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as WireSession;
}

export async function untilIdle(id: string): Promise<WireSession> {
  for (;;) {
    const session = await info(id);
    if (!session.busy) return session;
    await scheduler.wait(5);
  }
}

/** Whole events of a stream as they come, each with its blank line. Pings are left out. */
export async function* eventsOf(response: Response): AsyncGenerator<string, void, void> {
  let text = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (text + piece).split(/(?<=\n\n)/);
    text = events.at(-1)!.endsWith("\n\n") ? "" : events.pop()!;
    for (const event of events) if (!event.startsWith(":")) yield event;
  }
}

export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Reads some events and leaves. */
export async function readEvents(response: Response, numEvents: number): Promise<string[]> {
  const read: string[] = [];
  for await (const event of eventsOf(response)) {
    read.push(event);
    if (read.length === numEvents) break;
  }
  return read;
}

export function idOf(event: string): string {
  return /^id: (.*)$/m.exec(event)![1]!;
}

/** Of two runs of the same answer in two sessions: what differs is whose it is. */
export function withoutNames(text: string): string {
  return text.replace(/^id: \d+-/gm, "id: ").replace(/"(id|session_id|created)":("[^"]*"|\d+),?/g, "");
}

export async function textOf(response: Response): Promise<string> {
  let text = "";
  for await (const chunk of chunksOf(response)) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}
