/** Every client's tool loop against the real Worker: a model that was never taught to call is made to by its grammar. */
import { describe, expect, inject, test } from "vitest";
import { TOOL_NAME, toolClients } from "../../support/clients/tool-clients.ts";
import { MODEL } from "./server.ts";

const asked = { model: MODEL, prompt: "What is a KV cache?", maxTokens: 200 };

describe.each(toolClients(inject("serverUrl")))("$name", (client) => {
  const forced = client.choices.filter((choice) => choice !== "auto");
  const cases = forced.flatMap((choice) => [true, false].map((stream) => ({ choice, stream })));

  test.each(cases)("$choice, streamed: $stream: a whole call, its result, an answer", async ({ choice, stream }) => {
    const cities: string[] = [];
    const run = ({ city }: { city: string }) => {
      cities.push(city);
      return "Sunny.";
    };
    const { calls } = await client.ask({ ...asked, choice, stream, run });
    expect(calls.length).toBeGreaterThan(0);
    for (const { name, input } of calls) expect([name, Object.keys(input as object)]).toEqual([TOOL_NAME, ["city"]]);
    expect(cities).toEqual(calls.map(({ input }) => (input as { city: string }).city));
  });

  test.each([true, false])("auto leaves the model free, streamed: %s", async (stream) => {
    const { text, calls } = await client.ask({ ...asked, choice: "auto", stream, run: () => "Sunny." });
    expect(text !== "" || calls.length > 0).toBe(true);
  });
});
