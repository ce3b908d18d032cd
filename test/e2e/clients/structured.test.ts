/** Objects that every client asks for, out of a model that knows nothing of JSON: each sampled token is held to the schema. */
import OpenAI from "openai";
import { LengthFinishReasonError } from "openai/core/error";
import { describe, expect, inject, test } from "vitest";
import { reportSchema, structuredClients } from "../../support/clients/structured-clients.ts";
import { MODEL } from "./server.ts";

const serverUrl = inject("serverUrl");
const asked = { model: MODEL, prompt: "What is a KV cache?" };

describe.each(structuredClients(serverUrl))("$name", (client) => {
  test.each([0, 1])("gives an object of the schema at temperature %s", async (temperature) => {
    const report = await client.ask({ ...asked, temperature });
    expect(reportSchema.safeParse(report).error).toBeUndefined();
  });
});

describe("openai", () => {
  const client = new OpenAI({ baseURL: `${serverUrl}/v1`, apiKey: "any", maxRetries: 0 });
  const messages = [{ role: "user" as const, content: asked.prompt }];

  test("json_object gives an object, or says that it was cut", async () => {
    for (let seed = 0; seed < 4; seed++) {
      const { choices } = await client.chat.completions.create({
        model: MODEL,
        messages,
        seed,
        max_tokens: 200,
        response_format: { type: "json_object" },
      });
      const { message, finish_reason } = choices[0]!;
      expect(message.content).toMatch(/^\{/);
      if (finish_reason === "stop") expect(typeof JSON.parse(message.content!)).toBe("object");
      else expect(finish_reason).toBe("length");
    }
  });

  test("a cut object is never called complete", async () => {
    const cut = client.chat.completions.parse({
      model: MODEL,
      messages,
      max_tokens: 3,
      response_format: { type: "json_schema", json_schema: { name: "n", schema: { type: "object", required: ["a"] } } },
    });
    await expect(cut).rejects.toBeInstanceOf(LengthFinishReasonError);
  });

  test("a schema that cannot be held to is refused by its path", async () => {
    const schema = { type: "object", properties: { a: { $ref: "https://example.test/schema" } } };
    const error = await client.chat.completions
      .create({ model: MODEL, messages, response_format: { type: "json_schema", json_schema: { name: "n", schema } } })
      .catch((cause) => cause);
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error.param).toMatch(/^response_format/);
  });
});
