/** Limits of a key in its object: what is left, what is refused, and that usage is put right when an answer has ended. */
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { type Frame, SocketClient } from "../edge/sockets.ts";
import { addTinyModel, answerOf, chat, chunksOf, errorOf, STREAM } from "../edge/stack.ts";
import { getAs, postAs, sessionAs } from "./asking.ts";
import { ALLOWED_MODEL, keyId } from "./key-config.ts";

beforeAll(async () => {
  await addTinyModel(ALLOWED_MODEL);
});

/** A look at a key's buckets that takes nothing but a request. */
async function tokensLeft(name: "frugal" | "counted", tokens: number): Promise<number> {
  const limiter = env.RATE_LIMITER.getByName(keyId(name));
  const { states } = await limiter.take({ requests: null, tokens }, 0);
  return states.tokens!.remaining;
}

/** The end of an answer is put right after the answer. */
async function untilTokensLeft(name: "frugal" | "counted", tokens: number, wanted: (left: number) => boolean) {
  for (let left = await tokensLeft(name, tokens); ; left = await tokensLeft(name, tokens)) {
    if (wanted(left)) return left;
    await scheduler.wait(5);
  }
}

describe("requests a minute", () => {
  test("say what is left, and then when to come back", async () => {
    const ask = () => postAs("slow", "/v1/chat/completions", chat(ALLOWED_MODEL, "Hi", 1));
    for (const remaining of ["2", "1", "0"]) {
      const response = await ask();
      expect(response.status).toBe(200);
      expect(response.headers.get("x-ratelimit-limit-requests")).toBe("3");
      expect(response.headers.get("x-ratelimit-remaining-requests")).toBe(remaining);
      expect(response.headers.get("x-ratelimit-reset-requests")).toMatch(/^(\d+m)?[\d.]+m?s$/);
      expect(response.headers.has("x-ratelimit-limit-tokens")).toBe(false);
      await response.text();
    }
    const refused = await ask();
    const error = await errorOf(refused);
    expect(error).toMatchObject({ status: 429, type: "rate_limit_error", code: "rate_limit_exceeded", param: null });
    const afterS = Number(refused.headers.get("retry-after"));
    expect(Number.isInteger(afterS) && afterS >= 1 && afterS <= 20).toBe(true);
    expect(Number(refused.headers.get("retry-after-ms"))).toBeGreaterThan(0);
    expect(refused.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    expect(refused.headers.has("x-should-retry")).toBe(false);
    // Looking costs nothing.
    expect((await getAs("slow", "/v1/models")).status).toBe(200);
  });

  test("count what comes over a session's socket, too", async () => {
    const id = await sessionAs("socket", ALLOWED_MODEL);
    const response = await getAs("socket", `/v1/sessions/${id}/ws`, { upgrade: "websocket" });
    const client = new SocketClient(response.webSocket!);
    const message = (ref: string) => ({ type: "message", ref, content: "Hi", max_tokens: 2, ignore_eos: true });
    for (const [i, ref] of ["one", "two"].entries()) {
      client.say(message(ref));
      await client.untilDone(i + 1);
    }
    client.say(message("three"));
    const refused = (await client.reply("three")) as Extract<Frame, { type: "error" }>;
    expect(refused).toMatchObject({ type: "error", status: 429, error: { code: "rate_limit_exceeded" } });
    expect(refused.retry_after_ms).toBeGreaterThan(0);
    const { messages } = (await (await getAs("socket", `/v1/sessions/${id}`)).json()) as { messages: unknown[] };
    expect(messages).toHaveLength(4);
    client.socket.close();
  });
});

describe("tokens a minute", () => {
  const LIMIT = 100_000;

  test("are taken by an estimate, and put right by the usage", async () => {
    const before = await tokensLeft("counted", LIMIT);
    const response = await postAs("counted", "/v1/chat/completions", {
      ...chat(ALLOWED_MODEL, "Hello", 8),
      max_tokens: 500,
    });
    const reserved = before - Number(response.headers.get("x-ratelimit-remaining-tokens"));
    expect(reserved).toBeGreaterThanOrEqual(500);
    const { usage } = await answerOf(response);
    const used = usage.prompt_tokens + usage.completion_tokens;
    // The bucket is refilled by some 1.7 tokens a millisecond meanwhile, so it is full again or short of what was used.
    const left = await untilTokensLeft("counted", LIMIT, (now) => now > before - used);
    expect(left).toBeLessThanOrEqual(LIMIT);
  });

  test("an answer that is cut off gives back what it did not use, and a session's that ends too", async () => {
    const body = { ...chat(ALLOWED_MODEL, "Hello", 8), max_tokens: 380 };
    const chunks = chunksOf(await postAs("frugal", "/v1/chat/completions", body));
    await chunks.next();
    await chunks.next();
    // All but what the reservation left: another such request has no room.
    const refused = await postAs("frugal", "/v1/chat/completions", body);
    expect(await errorOf(refused)).toMatchObject({ status: 429, code: "rate_limit_exceeded" });
    expect(refused.headers.get("x-ratelimit-limit-tokens")).toBe("400");
    await chunks.return();
    await untilTokensLeft("frugal", 400, (left) => left > 300);

    const id = await sessionAs("frugal", ALLOWED_MODEL);
    const turn = { content: "Hi", ...STREAM, max_tokens: 250 };
    const session = await postAs("frugal", `/v1/sessions/${id}/messages`, turn);
    expect(Number(session.headers.get("x-ratelimit-remaining-tokens"))).toBeLessThan(150);
    await session.body!.cancel();
    await postAs("frugal", `/v1/sessions/${id}/stop`, {});
    await untilTokensLeft("frugal", 400, (left) => left > 200);
  });

  test("what a model refuses takes no tokens", async () => {
    const before = await tokensLeft("counted", LIMIT);
    const refused = await postAs("counted", "/v1/chat/completions", chat(ALLOWED_MODEL, "word ".repeat(2000), 400));
    expect((await errorOf(refused)).code).toBe("context_length_exceeded");
    await untilTokensLeft("counted", LIMIT, (left) => left >= before);
  });
});

test("a key without limits has no headers and wakes no object", async () => {
  const response = await postAs("anne", "/v1/chat/completions", chat(ALLOWED_MODEL, "Hi", 1));
  await response.text();
  expect([...response.headers.keys()].filter((name) => name.startsWith("x-ratelimit"))).toEqual([]);
});
