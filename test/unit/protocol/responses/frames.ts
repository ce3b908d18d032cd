/** A response's frame, and a reader of its stream as strict as the format's rules. */
import { expect } from "vitest";
import type { ResponseBody, ResponseFrame } from "../../../../src/protocol/responses/response-body.ts";

export const CONVERSATION = "c".repeat(32);

export const FRAME: ResponseFrame = {
  id: `resp_${CONVERSATION}_${"r".repeat(16)}`,
  createdS: 1_700_000_000,
  echo: {
    model: "m",
    instructions: null,
    previous_response_id: null,
    max_output_tokens: null,
    temperature: 1,
    top_p: 1,
    top_logprobs: 0,
    tools: [],
    tool_choice: "auto",
    parallel_tool_calls: true,
    text: { format: { type: "text" } },
    reasoning: { effort: null, summary: null },
    truncation: "disabled",
    metadata: {},
    store: false,
  },
};

export interface StreamedEvent {
  type: string;
  sequence_number: number;
  response?: ResponseBody;
  output_index?: number;
  item_id?: string;
  delta?: string;
  text?: string;
  arguments?: string;
  item?: ResponseBody["output"][number];
  [field: string]: unknown;
}

/** Each event has its type in an `event:` line and in its JSON, and they are numbered from 0. */
export function readResponseSse(text: string): StreamedEvent[] {
  if (text === "") return [];
  expect(text.endsWith("\n\n")).toBe(true);
  const events = text
    .slice(0, -2)
    .split("\n\n")
    .filter((event) => event !== ": ping");
  return events.map((event, index) => {
    const [, name, data] = /^event: ([a-z_.]+)\ndata: ([^\n\r]+)$/.exec(event) ?? [];
    const body = JSON.parse(data!) as StreamedEvent;
    expect(body).toMatchObject({ type: name, sequence_number: index });
    return body;
  });
}
