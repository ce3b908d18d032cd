/** Requests that the Worker forwards to origins, which are real servers, through its front door. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import { usualPieces } from "../../support/upstream-server.ts";
import { ORIGIN_KEY } from "../origin-config.ts";
import { addTinyModel, answerOf, chat, chunksOf, errorOf, post, request } from "../stack.ts";
import { callsTo, endedCall, resetOrigins, script } from "./upstream.ts";

const usual = (question: string, numPieces: number) => usualPieces(question, numPieces).join("");

const ask = (model: string, question: string, numTokens = 12, fields: object = {}) =>
  post("/v1/chat/completions", { ...chat(model, question, numTokens), ...fields });

beforeEach(resetOrigins);

describe("models", () => {
  test("of both tiers are listed, with whose they are", async () => {
    const { data } = (await (await request("/v1/models")).json()) as { data: Record<string, unknown>[] };
    const owners = Object.fromEntries(data.map((model) => [model.id, model.owned_by]));
    expect(owners).toMatchObject({ "runnel-demo": "runnel", pair: "left, right", "cloud-big": "cloud" });
    expect(data.find(({ id }) => id === "pair")).toMatchObject({ max_model_len: 4096, description: "Two origins." });
    expect(await (await request("/v1/models/plain-big")).json()).toMatchObject({ max_model_len: null });
  });

  test("that nobody has are refused with the names of both", async () => {
    const error = await errorOf(await ask("nobody", "hi"));
    expect(error).toMatchObject({ status: 404, code: "model_not_found" });
    expect(error.message).toMatch(/runnel-demo.*pair/);
  });
});

describe("an answer of an origin", () => {
  test("comes through, streamed and whole, chat and completion, with its counts and by our name", async () => {
    const streamed = await answerOf(await ask("plain-big", "through"));
    expect(streamed).toMatchObject({
      text: usual("through", 12),
      finishReason: "length",
      usage: { prompt_tokens: 10, completion_tokens: 12, prompt_tokens_details: { cached_tokens: 3 } },
    });
    const whole = await ask("plain-big", "through", 12, { stream: false, stream_options: null });
    const body = (await whole.json()) as { model: string; choices: { message: { content: string } }[] };
    expect([body.model, body.choices[0]!.message.content]).toEqual(["plain-big", streamed.text]);
    const completion = await post("/v1/completions", {
      model: "plain-big",
      prompt: "through",
      max_tokens: 12,
      echo: true,
    });
    const { choices } = (await completion.json()) as { choices: { text: string }[] };
    expect(choices[0]!.text).toBe(`through${streamed.text}`);
    const seen = await callsTo("plain");
    expect(seen.map(({ path, body }) => [path, body?.model, body?.echo])).toEqual([
      ["/v1/chat/completions", "org/Plain", undefined],
      ["/v1/chat/completions", "org/Plain", undefined],
      ["/v1/completions", "org/Plain", undefined],
    ]);
    for (const { headers } of seen) expect(headers.authorization).toBe(`Bearer ${ORIGIN_KEY}`);
  });

  test("is the same one at a time and with fifteen others", async () => {
    const questions = Array.from({ length: 16 }, (_, i) => `question ${i}`);
    const alone: string[] = [];
    for (const question of questions) alone.push((await answerOf(await ask("pair", question, 40))).text);
    const together = await Promise.all(questions.map(async (q) => (await answerOf(await ask("pair", q, 40))).text));
    expect(together).toEqual(alone);
    expect(alone).toEqual(questions.map((question) => usual(question, 40)));
  });

  test("goes to the same origin for the same key", async () => {
    for (let i = 0; i < 6; i++) await answerOf(await ask("pair", `number ${i}`, 2, { prompt_cache_key: "mine" }));
    const counts = [(await callsTo("left")).length, (await callsTo("right")).length].sort();
    expect(counts).toEqual([0, 6]);
  });

  test("comes from a server that somebody else wrote", async () => {
    const answer = await answerOf(await ask("third-party-big", "What is a river?"));
    expect(answer.text).toBe("A river is water that goes somewhere, and it is older than its name: naïve, 東京, 🙂.");
    expect([answer.finishReason, answer.usage.prompt_tokens > 0]).toEqual(["stop", true]);
    const refusal = await errorOf(await ask("third-party-big", "What is a cat?"));
    // Its 404 says that it has no such answer; for a server of models that is: no such model.
    expect(refusal).toMatchObject({ status: 502, code: "upstream_error" });
    expect(refusal.message).toContain("No fixture matched");
  });
});

describe("a fault of an origin", () => {
  test("before the first token is another origin's request, and nobody's error", async () => {
    for (const name of ["left", "right"]) {
      await script("left", ...(name === "left" ? [{ fault: { afterPieces: 0, kind: "cut" as const } }] : []));
      await script("right", ...(name === "right" ? [{ status: 503 }] : []));
      expect((await answerOf(await ask("pair", "twice", 8))).text).toBe(usual("twice", 8));
    }
  });

  test.each(["cut", "end", "garbage", "error", "stall"] as const)(
    "in mid-stream is a clear error event, and the next request works: %s",
    async (kind) => {
      await script("plain", { fault: { afterPieces: 4, kind }, pauseMs: 1 });
      let text = "";
      let message = "";
      const response = await ask("plain-big", "broken", 12);
      expect(response.status).toBe(200);
      for await (const chunk of chunksOf(response)) {
        text += chunk.error === undefined ? (chunk.choices[0]?.delta.content ?? "") : "";
        if (chunk.error !== undefined) {
          message = chunk.error.message;
          expect(chunk.error.code).toBe(kind === "stall" ? "upstream_timeout" : "upstream_error");
        }
      }
      expect(usual("broken", 12).startsWith(text)).toBe(true);
      expect(message).toContain("origin 'plain'");
      expect((await answerOf(await ask("plain-big", "broken", 12))).text).toBe(usual("broken", 12));
    },
  );

  test("that is the client's is told in the origin's words", async () => {
    const words = "This model's maximum context length is 4096 tokens.";
    await script("plain", { status: 400, body: JSON.stringify({ error: { message: words, code: 400 } }) });
    const error = await errorOf(await ask("plain-big", "long"));
    expect(error).toMatchObject({ status: 400, code: "context_length_exceeded", message: words });
  });

  test("says when to come back where it is too busy", async () => {
    await script("plain", { status: 429, headers: { "retry-after": "17" } });
    const response = await ask("plain-big", "busy");
    expect([response.status, response.headers.get("retry-after")]).toEqual([429, "17"]);
    expect((await errorOf(response)).code).toBe("server_overloaded");
  });

  test("brings an edge model in, marked in the answer and in its head, where one is configured", async () => {
    await addTinyModel("stand-in");
    await script("shaky", { status: 502 }, { fault: { afterPieces: 0, kind: "cut" } });
    for (let i = 0; i < 2; i++) {
      const response = await ask("shaky-big", "anyone?", 5);
      expect(response.headers.get("x-runnel-fallback")).toBe("stand-in");
      const models = new Set<string>();
      for await (const chunk of chunksOf(response)) models.add((chunk as unknown as { model: string }).model);
      expect([...models]).toEqual(["stand-in"]);
    }
    const healthy = await ask("shaky-big", "anyone?", 5);
    expect(healthy.headers.get("x-runnel-fallback")).toBeNull();
    expect((await answerOf(healthy)).text).toBe(usual("anyone?", 5));
    // A mistake of the client's is nothing that another model could mend.
    await script("shaky", { status: 400 });
    expect((await ask("shaky-big", "anyone?", 5)).status).toBe(400);
  });
});

describe("an abort at the client reaches the origin", () => {
  test("of a stream", async () => {
    await script("plain", { pauseMs: 5 });
    const response = await ask("plain-big", "forever", 2000);
    const reader = response.body!.getReader();
    for (let i = 0; i < 4; i++) await reader.read();
    await reader.cancel();
    const call = await endedCall("plain");
    expect([call.state, call.numPieces < 200]).toEqual(["closed", true]);
  });

  test("before the head", async () => {
    await script("plain", { isSilent: true });
    const controller = new AbortController();
    const init = { signal: controller.signal, headers: { "content-type": "application/json" } };
    const asked = post("/v1/chat/completions", chat("plain-big", "silent", 4), init).then(
      (response) => response.status,
      () => "rejected",
    );
    while ((await callsTo("plain")).length === 0) await scheduler.wait(5);
    controller.abort();
    await asked;
    expect((await endedCall("plain")).state).toBe("closed");
  });
});

test("keys and addresses are in no answer and in no log", async () => {
  const logged: string[] = [];
  const spies = (["log", "warn", "error", "info", "debug"] as const).map((level) =>
    vi.spyOn(console, level).mockImplementation((...args) => void logged.push(args.map(String).join(" "))),
  );
  const leak = JSON.stringify({ error: { message: `key ${ORIGIN_KEY} at http://127.0.0.1:9/v1 is wrong` } });
  const told: string[] = [];
  for (const status of [400, 401, 404, 429, 500, 503]) {
    await script("plain", { status, body: leak, headers: { "retry-after": "0" } });
    const response = await ask("plain-big", "leak");
    told.push(await response.text(), JSON.stringify([...response.headers]));
  }
  await script("plain", { fault: { afterPieces: 2, kind: "error" }, pauseMs: 1 });
  told.push(await (await ask("plain-big", "leak")).text(), await (await request("/v1/models")).text());
  for (const spy of spies) spy.mockRestore();
  expect(logged.length).toBeGreaterThan(0);
  for (const text of [...told, ...logged]) {
    expect(text).not.toContain(ORIGIN_KEY);
    expect(text).not.toContain("127.0.0.1");
  }
});

test("a model of the binding is refused where it cannot do what is asked, and where there is no binding", async () => {
  const stops = await errorOf(await ask("cloud-big", "hi", 4, { stop: "." }));
  expect(stops).toMatchObject({ status: 400, code: "unsupported_parameter" });
  const body = { model: "cloud-big", messages: [{ role: "user", content: "hi" }] };
  const error = await errorOf(await post("/v1/chat/completions", body));
  // The log says that the binding is missing.
  expect(error).toMatchObject({ status: 500, code: "internal_error" });
});
