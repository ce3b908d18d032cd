/** Responses through the whole stack: kept in a Durable Object, answered in a lane whose prefix cache knows them. */
import { env } from "cloudflare:workers";
import { beforeAll, expect, test } from "vitest";
import { RESPONSE_CHAIN_MAX } from "../../src/protocol/limits.ts";
import { parseResponseId } from "../../src/protocol/responses/ids.ts";
import type { ResponseBody } from "../../src/protocol/responses/response-body.ts";
import { addTinyModel, errorOf, post, request } from "./stack.ts";

const MODEL = "responses-tiny";
const FIELDS = { model: MODEL, temperature: 0, max_output_tokens: 16, ignore_eos: true };

beforeAll(async () => {
  await addTinyModel(MODEL);
});

async function respond(fields: object): Promise<ResponseBody> {
  const response = await post("/v1/responses", { ...FIELDS, ...fields });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as ResponseBody;
}

const read = (id: string) => request(`/v1/responses/${id}`);
const conversationOf = (id: string) => env.RESPONSE_CONVERSATION.getByName(parseResponseId(id)!.conversation);

test("a chain of responses is one conversation, and its prefix is computed once", async () => {
  const first = await respond({
    input: "Tell me about the sea, and take your time with it.",
    instructions: "Be kind.",
  });
  const second = await respond({ input: "And then?", instructions: "Be kind.", previous_response_id: first.id });
  expect(second.usage!.input_tokens).toBeGreaterThan(first.usage!.total_tokens);
  expect(second.usage!.input_tokens_details.cached_tokens).toBeGreaterThan(first.usage!.input_tokens / 2);
  expect(await (await read(first.id)).json()).toEqual(first);
  expect(await (await read(second.id)).json()).toEqual(second);

  const [message] = first.output;
  const items = [
    { role: "user", content: "Tell me about the sea, and take your time with it." },
    { type: "item_reference", id: message!.id },
    { role: "user", content: "And then?" },
  ];
  const named = await respond({ input: items, instructions: "Be kind." });
  expect(named.output[0]).toMatchObject({ content: (second.output[0] as { content: object[] }).content });
  expect(parseResponseId(named.id)!.conversation).toBe(parseResponseId(first.id)!.conversation);

  expect((await request(`/v1/responses/${first.id}`, { method: "DELETE" })).status).toBe(200);
  expect((await read(first.id)).status).toBe(404);
  expect((await read(second.id)).status).toBe(200);
  const orphan = await errorOf(await post("/v1/responses", { ...FIELDS, input: "x", previous_response_id: second.id }));
  expect(orphan).toMatchObject({ status: 400, code: "previous_response_not_found" });
});

test("a stream ends when its response is kept", async () => {
  const response = await post("/v1/responses", { ...FIELDS, input: "Hello", stream: true });
  const text = await response.text();
  const events = text.trimEnd().split("\n\n");
  const last = JSON.parse(events.at(-1)!.replace(/^event: .*\ndata: /, ""));
  expect(last).toMatchObject({ type: "response.incomplete", response: { status: "incomplete" } });
  expect(await (await read(last.response.id)).json()).toEqual(last.response);
});

test("nothing is left of a conversation whose last response is deleted, nor of one that was only asked for", async () => {
  const { id } = await respond({ input: "Hello" });
  await request(`/v1/responses/${id}`, { method: "DELETE" });
  const never = `resp_${"0".repeat(32)}_${"0".repeat(16)}`;
  expect((await read(never)).status).toBe(404);
  for (const gone of [id, never]) expect(await conversationOf(gone).isEmpty()).toBe(true);
});

test("a chain has only so many links", async () => {
  const { id, ...body } = await respond({ input: "Hello" });
  const object = conversationOf(id);
  let previous = parseResponseId(id)!.response;
  for (let i = 1; i <= RESPONSE_CHAIN_MAX; i++) {
    const response = String(i).padStart(16, "0");
    await object.put(response, { previous, input: [], body: { ...body, id, output: [] } });
    if (i === RESPONSE_CHAIN_MAX - 1) expect(await object.history(response)).toHaveLength(2);
    previous = response;
  }
  expect(await object.history(previous)).toBeNull();
});
