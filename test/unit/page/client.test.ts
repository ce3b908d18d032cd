/** The client against real `Response`s: what it asks for, what it makes of answers, errors and broken streams. */
import { describe, expect, test } from "vitest";
import { createClient } from "../../../src/page/net/client.ts";
import type { RequestError } from "../../../src/page/net/failure.ts";
import { collect } from "./collect.ts";

interface Asked {
  method: string;
  path: string;
  body: unknown;
  lastEventId?: string;
}

function clientOf(answer: (asked: Asked) => Response | Promise<Response>) {
  const asked: Asked[] = [];
  const client = createClient(
    (async (path: string, init: RequestInit) => {
      const lastEventId = new Headers(init.headers).get("last-event-id");
      const request: Asked = {
        method: init.method!,
        path,
        body: init.body ? JSON.parse(init.body as string) : undefined,
        ...(lastEventId !== null && { lastEventId }),
      };
      asked.push(request);
      return answer(request);
    }) as typeof fetch,
    noSocket,
  );
  return { client, asked };
}

const noSocket = (path: string): never => {
  throw new Error(`No socket is opened here, but ${path} was.`);
};

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => (error as RequestError).failure,
  );

const chunk = (choice: object | null, usage: object | null = null) =>
  `data: ${JSON.stringify({ object: "chat.completion.chunk", choices: choice ? [choice] : [], usage })}\n\n`;

const finish = (reason: string, stop: string | null = null) => ({
  index: 0,
  delta: {},
  finish_reason: reason,
  stop_reason: stop,
});
const piece = (content: string) => ({ index: 0, delta: { content }, finish_reason: null });

async function answerOf(...parts: string[]) {
  const { client, asked } = clientOf(() => new Response(parts.join("")));
  const events = await collect(await client.sendMessage("s 1", "Hi", new AbortController().signal));
  return { events, asked };
}

describe("routes", () => {
  test("models", async () => {
    const { client } = clientOf(() => Response.json({ object: "list", data: [{ id: "demo", max_model_len: 512 }] }));
    expect(await client.models()).toEqual([{ id: "demo", description: null, contextLength: 512, owner: null }]);
  });

  test("a session, without its system message, with what became of each answer", async () => {
    let id = 0;
    const message = (role: string, content: string, finish_reason: string | null = null) => ({
      id: ++id,
      role,
      content,
      finish_reason,
    });
    const { client } = clientOf(() =>
      Response.json({
        id: "s1",
        title: "Hi",
        model: "demo",
        updated_at: 5,
        busy: true,
        messages: [
          message("system", "Be brief."),
          message("user", "Hi"),
          message("assistant", "Hello.", "stop"),
          message("assistant", "Cut", "length"),
          message("assistant", "St", "abort"),
          message("assistant", "", "pending"),
        ],
      }),
    );
    expect(await client.session("s1")).toEqual({
      id: "s1",
      title: "Hi",
      model: "demo",
      isBusy: true,
      lastMessageId: 6,
      messages: [
        { role: "user", text: "Hi", status: "done" },
        { role: "assistant", text: "Hello.", status: "done" },
        { role: "assistant", text: "Cut", status: "length" },
        { role: "assistant", text: "St", status: "stopped" },
        { role: "assistant", text: "", status: "pending" },
      ],
    });
  });

  test("an edit goes to the message that is meant, and nowhere where it says something else by now", async () => {
    const messages = [
      { id: 4, role: "system", content: "Be brief.", finish_reason: null },
      { id: 5, role: "user", content: "Hi", finish_reason: null },
      { id: 6, role: "assistant", content: "Hello.", finish_reason: "stop" },
    ];
    const { client, asked } = clientOf(({ method }) =>
      method === "GET" ? Response.json({ messages }) : new Response(),
    );
    const { signal } = new AbortController();
    await client.edit("s1", 0, "Hi", "Hey", signal);
    expect(asked.at(-1)).toMatchObject({ method: "PUT", path: "/v1/sessions/s1/messages/5", body: { content: "Hey" } });
    for (const [index, before] of [
      [0, "Other"],
      [1, "Hello."],
      [2, "?"],
    ] as const) {
      expect(await failureOf(client.edit("s1", index, before, "Hey", signal))).toMatchObject({ kind: "refused" });
    }
    expect(asked.filter(({ method }) => method === "PUT")).toHaveLength(1);
  });

  test("paths and bodies", async () => {
    const session = { id: "s1", title: "New chat", model: "demo", updated_at: 7 };
    const { client, asked } = clientOf(({ method }) =>
      Response.json(method === "POST" ? session : { data: [session] }),
    );
    expect(await client.createSession("demo")).toEqual({
      id: "s1",
      title: "New chat",
      model: "demo",
      updatedAtMs: 7000,
    });
    await client.createSession(null);
    expect(await client.sessions()).toEqual([{ id: "s1", title: "New chat", model: "demo", updatedAtMs: 7000 }]);
    await client.stop("a/b");
    await client.deleteSession("a/b");
    expect(asked).toEqual([
      { method: "POST", path: "/v1/sessions", body: { model: "demo" } },
      { method: "POST", path: "/v1/sessions", body: {} },
      { method: "GET", path: "/v1/sessions", body: undefined },
      { method: "POST", path: "/v1/sessions/a%2Fb/stop", body: undefined },
      { method: "DELETE", path: "/v1/sessions/a%2Fb", body: undefined },
    ]);
  });
});

describe("an answer", () => {
  test("text, end and usage, whatever else is between", async () => {
    const usage = {
      prompt_tokens: 9,
      completion_tokens: 2,
      total_tokens: 11,
      prompt_tokens_details: { cached_tokens: 4 },
    };
    const { events, asked } = await answerOf(
      chunk({ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }),
      ": ping\n\n",
      chunk(piece("Hel")),
      chunk(piece("lo")),
      chunk(finish("stop")),
      chunk(null, usage),
      "data: [DONE]\n\n",
      chunk(piece("never")),
    );
    expect(events).toEqual([
      { type: "text", text: "Hel" },
      { type: "text", text: "lo" },
      { type: "end", reason: "stop" },
      { type: "usage", usage: { promptTokens: 9, completionTokens: 2, cachedTokens: 4 } },
    ]);
    expect(asked).toEqual([
      {
        method: "POST",
        path: "/v1/sessions/s%201/messages",
        body: { content: "Hi", stream: true, stream_options: { include_usage: true }, temperature: 0.4, top_p: 0.9 },
      },
    ]);
  });

  test("one that was stopped says so in stop_reason", async () => {
    const { events } = await answerOf(chunk(piece("a")), chunk(finish("stop", "abort")), "data: [DONE]\n\n");
    expect(events.at(-1)).toEqual({ type: "end", reason: "abort" });
  });

  test("a connection that breaks gives what came, and no end", async () => {
    let pull = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pull++ === 0) controller.enqueue(new TextEncoder().encode(chunk(piece("Hel"))));
        else controller.error(new TypeError("network error"));
      },
    });
    const { client } = clientOf(() => new Response(body));
    const events = await collect(await client.sendMessage("s1", "Hi", new AbortController().signal));
    expect(events).toEqual([{ type: "text", text: "Hel" }]);
  });

  test("an error in mid-stream is thrown with the server's words", async () => {
    const error = {
      error: { message: "The engine was rebuilt. Ask again.", type: "server_error", param: null, code: null },
    };
    const failed = await failureOf(
      answerOf(chunk(piece("a")), `data: ${JSON.stringify(error)}\n\n`, "data: [DONE]\n\n"),
    );
    expect(failed).toMatchObject({ kind: "interrupted", detail: "The engine was rebuilt. Ask again." });
  });
});

describe("a stream that is taken up", () => {
  const { signal } = new AbortController();
  const id = (id: string, event: string) => `id: ${id}\n${event}`;

  test("asks for what came after the last event that was read", async () => {
    const answers = [
      [id("3-1", chunk(piece("Hel"))), id("3-2", chunk(piece("lo"))), 'id: 3-3\ndata: {"choices":['].join(""),
      id("3-3", chunk(finish("stop"))) + id("3-4", "data: [DONE]\n\n"),
    ];
    const { client, asked } = clientOf(() => new Response(answers.shift()!));
    const broken = await client.sendMessage("s1", "Hi", signal);
    expect(broken.lastEventId).toBeNull();
    expect(await collect(broken)).toHaveLength(2);
    expect(broken.lastEventId).toBe("3-2");
    const resumed = (await client.resume("s1", broken.lastEventId, signal))!;
    expect(resumed.lastEventId).toBe("3-2");
    expect(await collect(resumed)).toEqual([{ type: "end", reason: "stop" }]);
    expect(asked[1]).toEqual({ method: "GET", path: "/v1/sessions/s1/stream", body: undefined, lastEventId: "3-2" });
  });

  test("from the beginning, with another answer, and where there is nothing", async () => {
    const gone = () => Response.json({ error: { message: "Gone.", code: "stream_gone" } }, { status: 410 });
    const answers = [new Response(null, { status: 204 }), gone(), new Response(chunk(piece("a")))];
    const { client, asked } = clientOf(() => answers.shift()!);
    expect(await client.resume("s1", null, signal)).toBeNull();
    expect(await client.resume("s1", "2-9", signal)).toBeNull();
    expect(await collect(await client.regenerate("s1", signal))).toEqual([{ type: "text", text: "a" }]);
    expect(asked.map(({ method, path, lastEventId }) => [method, path, lastEventId])).toEqual([
      ["GET", "/v1/sessions/s1/stream", undefined],
      ["GET", "/v1/sessions/s1/stream", "2-9"],
      ["POST", "/v1/sessions/s1/regenerate", undefined],
    ]);
  });
});

describe("failures", () => {
  const errorBody = (code: string | null, message: string) => ({ error: { message, type: "x", param: null, code } });

  test.each([
    [400, "context_length_exceeded", "context"],
    [400, "invalid", "refused"],
    [404, "not_found", "gone"],
    [404, "model_not_found", "refused"],
    [409, "session_busy", "busy"],
    [413, "body_too_large", "refused"],
    [429, "server_overloaded", "server"],
    [500, "internal_error", "server"],
    [503, "model_unavailable", "server"],
  ])("status %d with code %s is %s, in the server's words", async (status, code, kind) => {
    const { client } = clientOf(() => Response.json(errorBody(code, "Words and 42 numbers."), { status }));
    expect(await failureOf(client.session("s1"))).toMatchObject({ kind, detail: "Words and 42 numbers." });
  });

  test("no connection", async () => {
    const { client } = clientOf(() => Promise.reject(new TypeError("fetch failed")));
    expect(await failureOf(client.models())).toMatchObject({ kind: "unreachable" });
  });

  test.each([
    ["a proxy's HTML error", new Response("<h1>502</h1>", { status: 502 })],
    ["HTML where JSON should be", new Response("<h1>Welcome</h1>")],
  ])("%s", async (_, response) => {
    const { client } = clientOf(() => response);
    expect(await failureOf(client.models())).toMatchObject({ kind: "server" });
  });
});
