/** Reads streamed text back, as strictly as the format's rules say: a test of what was written, not a client. */
import { expect } from "vitest";

export interface Chunk {
  id: string;
  object: string;
  created: number;
  model: string;
  choices: {
    index: number;
    text?: string;
    delta?: {
      role?: string;
      content?: string | null;
      reasoning_content?: string;
      tool_calls?: { index: number; id?: string; type?: string; function: { name?: string; arguments: string } }[];
    };
    logprobs: unknown;
    finish_reason: string | null;
    stop_reason?: string | number | null;
  }[];
  usage?: object | null;
  session_id?: string;
}

export interface ReadStream {
  chunks: Chunk[];
  /** The error object that ended the stream, or null. */
  error: { message: string; type: string; param: string | null; code: string | null } | null;
}

/** A session's stream without the ids of its events, which come with each of them, one after another. */
export function withoutIds(text: string, turn: number, first = 1): string {
  const events = text.split(/(?<=\n\n)/).filter((event) => event !== "");
  return events
    .map((event, i) => {
      const id = `id: ${turn}-${first + i}\n`;
      expect(event.slice(0, id.length)).toBe(id);
      return event.slice(id.length);
    })
    .join("");
}

/** Each event is one `data:` line and a blank line, the last is `[DONE]` and comes once. */
export function readSse(text: string): ReadStream {
  expect(text.endsWith("\n\n")).toBe(true);
  const events = text
    .slice(0, -2)
    .split("\n\n")
    .filter((event) => event !== ": ping");
  for (const event of events) expect(event).toMatch(/^data: [^\n\r]+$/);
  const data = events.map((event) => event.slice("data: ".length));
  expect(data.indexOf("[DONE]")).toBe(data.length - 1);
  const bodies = data.slice(0, -1).map((one) => JSON.parse(one));
  const errorAt = bodies.findIndex((body) => "error" in body);
  if (errorAt < 0) return { chunks: bodies, error: null };
  expect(errorAt).toBe(bodies.length - 1);
  return { chunks: bodies.slice(0, -1), error: bodies[errorAt].error };
}
