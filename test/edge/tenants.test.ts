/** Who finds whose blocks: one tenant's requests and sessions share, and nobody else's do, wherever the blocks lie. */
import { beforeAll, expect, test } from "vitest";
import { NUM_LANES } from "../../src/edge/lanes.ts";
import { send } from "./sessions.ts";
import { type Answer, addTinyModel, answerOf, chat, post, request, statsOf } from "./stack.ts";

const MODEL = "tenants-tiny";
const SYSTEM = "You are a helper who knows everything about rivers and boats, and says it in few words. ".repeat(3);
const [ANNE, BERT] = ["a".repeat(32), "b".repeat(32)];

beforeAll(async () => {
  await addTinyModel(MODEL);
});

const cached = ({ usage }: Answer) => usage.prompt_tokens_details.cached_tokens;
const inBlocks = (numTokens: number) => numTokens - (numTokens % 16);

async function sessionOf(owner: string | null): Promise<string> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (owner !== null) headers["x-runnel-owner"] = owner;
  const body = JSON.stringify({ model: MODEL, system: SYSTEM });
  const response = await request("/v1/sessions", { method: "POST", headers, body });
  return ((await response.json()) as { id: string }).id;
}

test("sessions of one owner share the system prompt; another owner, and one without, compute their own", async () => {
  const ask = async (owner: string | null, content: string) => answerOf(await send(await sessionOf(owner), content, 8));
  const first = await ask(ANNE, "Who are you?");
  expect(cached(first)).toBe(0);
  const second = await ask(ANNE, "What is a boat?");
  const numShared = cached(second);
  expect(numShared).toBeGreaterThan(inBlocks(SYSTEM.length / 8));
  expect(cached(await ask(BERT, "What is a boat?"))).toBe(0);
  expect(cached(await ask(null, "What is a boat?"))).toBe(0);
  expect(cached(await ask(null, "What is a boat?"))).toBe(0);
  // Written behind the shared part by each for itself: all of them say the same to the same.
  const texts = await Promise.all([ANNE, ANNE, BERT, null].map(async (owner) => (await ask(owner, "Well?")).text));
  expect(new Set(texts).size).toBe(1);
  expect(cached(await ask(ANNE, "Something else"))).toBe(numShared);
});

test("stateless requests: equal prefixes meet, whatever the lane's key; another salt finds nothing", async () => {
  const ask = async (content: string, fields: object = {}) => {
    const body = {
      ...chat(MODEL, content, 4),
      messages: [
        { role: "system", content: SYSTEM },
        { role: "user", content },
      ],
    };
    return answerOf(await post("/v1/chat/completions", { ...body, ...fields }));
  };
  const first = await ask("Who are you?", { cache_salt: "lanes" });
  expect(cached(first)).toBe(0);
  // The same prompt: all of it but the last token, which is always computed.
  const again = await ask("Who are you?", { cache_salt: "lanes" });
  expect(cached(again)).toBe(again.usage.prompt_tokens - 1);
  expect(again.text).toBe(first.text);
  for (let i = 0; i < 2 * NUM_LANES; i++) {
    const other = await ask("Who are you?", { cache_salt: "lanes", prompt_cache_key: `key ${i}` });
    // Lanes of one isolate share one pool; each in an isolate of its own would compute it once.
    expect(cached(other)).toBe(cached(again));
  }
  for (const cache_salt of ["other", undefined, "owner:lanes"]) {
    expect(cached(await ask("Who are you?", { cache_salt }))).toBe(0);
  }
});

test("nobody reaches a session's blocks by guessing its salt", async () => {
  await answerOf(await send(await sessionOf(ANNE), "My secret is the river.", 8));
  for (const cache_salt of [`owner:${ANNE}`, ANNE]) {
    const messages = [
      { role: "system", content: SYSTEM },
      { role: "user", content: "My secret is the river." },
    ];
    const body = { ...chat(MODEL, "", 4), messages, cache_salt };
    expect(cached(await answerOf(await post("/v1/chat/completions", body)))).toBe(0);
  }
  expect(statsOf(MODEL).numRunning).toBe(0);
});
