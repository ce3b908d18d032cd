/**
 * Every client's tool loop against scripted models: the calls arrive as they were made, alone and two at once, streamed and
 * whole; the results come back to the model under the ids of their calls.
 */
import { beforeEach, describe, expect, test } from "vitest";
import type { ChatMessage, GenerateEvent } from "../../../src/protocol/generate.ts";
import { TOOL_NAME, toolClients } from "../../support/clients/tool-clients.ts";
import { call, json, reasoning } from "../protocol/answers.ts";
import { answer, delta, done, finish, start } from "../protocol/events.ts";
import { type Host, MODEL, ORIGIN, type Step, scriptedHost } from "./scripted-host.ts";

let host: Host;
beforeEach(() => {
  host = scriptedHost();
});

const fetchHost: typeof fetch = async (url, init) => host.app.fetch(new Request(url as string, init));

/** Answers the requests one after the other. */
function answerWith(...scripts: Step[][]): void {
  const { generate } = host.models;
  host.models.generate = async (request, key) => {
    host.models.script = scripts.shift() ?? answer("No more.");
    return generate.call(host.models, request, key);
  };
}

const TWO_CALLS: GenerateEvent[] = [
  start(),
  reasoning("Two cities."),
  delta("I look."),
  call(0, TOOL_NAME),
  json(0, '{"ci'),
  json(0, 'ty": "Bern"}'),
  call(1, TOOL_NAME),
  json(1, '{"city": "Rome"}'),
  finish(0, "tool_calls"),
  done(),
];

const ASKED = {
  model: MODEL.id,
  prompt: "How is the weather?",
  run: ({ city }: { city: string }) => `Sun in ${city}.`,
};

const messagesAsked = (index: number): ChatMessage[] => {
  const [prompt] = host.models.requests[index]!.request.prompts;
  return prompt?.kind === "chat" ? prompt.messages : [];
};

describe.each(toolClients(ORIGIN, fetchHost))("$name", (client) => {
  test.each([true, false])("two calls at once and their results, streamed: %s", async (stream) => {
    answerWith(TWO_CALLS, answer("It is", " sunny."));
    const told = await client.ask({ ...ASKED, stream, choice: "auto" });
    expect(told).toEqual({
      calls: [
        { name: TOOL_NAME, input: { city: "Bern" } },
        { name: TOOL_NAME, input: { city: "Rome" } },
      ],
      text: "It is sunny.",
    });
    const [question, made, ...results] = messagesAsked(1);
    expect(question).toEqual({ role: "user", content: ASKED.prompt });
    expect(made).toMatchObject({ role: "assistant", toolCalls: [{ id: "call_0" }, { id: "call_1" }] });
    expect(results.map(({ role, content, toolCallId }) => [role, content, toolCallId])).toEqual([
      ["tool", "Sun in Bern.", "call_0"],
      ["tool", "Sun in Rome.", "call_1"],
    ]);
  });

  test.each(client.choices)("the choice %s arrives, with the tool", async (choice) => {
    const reason = choice === "named" ? "stop" : "tool_calls";
    answerWith([start(), call(0, TOOL_NAME), json(0, '{"city":"Bern"}'), finish(0, reason), done()], answer("Sun."));
    const told = await client.ask({ ...ASKED, stream: true, choice });
    expect(told.calls).toEqual([{ name: TOOL_NAME, input: { city: "Bern" } }]);
    const { request } = host.models.requests[0]!;
    expect(request.toolChoice).toEqual(choice === "named" ? { name: TOOL_NAME } : choice);
    expect(request.prompts[0]).toMatchObject({
      tools: [{ name: TOOL_NAME, parameters: { type: "object", required: ["city"] } }],
    });
  });

  test.each([true, false])("no call is no call, streamed: %s", async (stream) => {
    answerWith(answer("No need."));
    expect(await client.ask({ ...ASKED, stream, choice: "auto" })).toEqual({ calls: [], text: "No need." });
    expect(host.models.requests).toHaveLength(1);
  });
});
