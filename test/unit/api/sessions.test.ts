import { beforeEach, describe, expect, test } from "vitest";
import { sessionBusy, streamGone } from "../../../src/protocol/errors.ts";
import { readSse, withoutIds } from "../protocol/sse-reader.ts";
import { errorOf, type Host, ORIGIN, scriptedHost } from "./scripted-host.ts";

let host: Host;
beforeEach(() => {
  host = scriptedHost();
});

const OWN_PAGE = { "sec-fetch-site": "same-origin", origin: ORIGIN };
const OWNER = "owner-0123456789abcdefghij";

const get = (path: string, headers: Record<string, string> = {}) => host.app.request(`${ORIGIN}${path}`, { headers });
const create = async (body: unknown = {}, headers: Record<string, string> = {}) =>
  (await (await host.post("/v1/sessions", body, { headers })).json()) as { id: string };
const listed = async (headers: Record<string, string> = {}) =>
  ((await (await get("/v1/sessions", headers)).json()) as { data: { id: string }[] }).data.map(({ id }) => id);

describe("a session", () => {
  test("begins, is read and is deleted", async () => {
    const response = await host.post("/v1/sessions", { title: "T", system: "Be kind." });
    expect(response.status).toBe(201);
    const session = (await response.json()) as { id: string };
    expect(session).toMatchObject({
      object: "session",
      title: "T",
      model: "org/demo",
      created_at: 1_700_000_000,
      busy: false,
      messages: [{ role: "system", content: "Be kind." }],
    });
    const read = await get(`/v1/sessions/${session.id}`);
    expect(read.headers.get("cache-control")).toBe("no-store");
    expect(await read.json()).toEqual(session);
    const deleted = await host.app.request(`${ORIGIN}/v1/sessions/${session.id}`, { method: "DELETE" });
    expect(await deleted.json()).toEqual({ id: session.id, object: "session.deleted", deleted: true });
    expect((await get(`/v1/sessions/${session.id}`)).status).toBe(404);
  });

  test("may begin with no body at all", async () => {
    const response = await host.app.request(`${ORIGIN}/v1/sessions`, { method: "POST" });
    expect(response.status).toBe(201);
  });

  test("needs a model, of which there may be none", async () => {
    host.models.list = [];
    expect((await host.post("/v1/sessions", {})).status).toBe(503);
  });

  test("answers a message as a stream of chat chunks", async () => {
    const { id } = await create();
    const body = {
      content: "Hi",
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
      max_tokens: 5,
    };
    const response = await host.post(`/v1/sessions/${id}/messages`, body);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const { chunks } = readSse(withoutIds(await response.text(), 2));
    for (const chunk of chunks) expect(chunk).toMatchObject({ object: "chat.completion.chunk", session_id: id });
    expect(chunks.map(({ choices }) => choices[0]?.delta?.content ?? "").join("")).toBe("Hello you");
    expect(chunks.at(-1)!.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 4 } });
    expect(host.sessions.sent).toMatchObject([
      {
        question: { kind: "message", content: "Hi" },
        request: { sampling: { temperature: 0 }, maxTokens: 5 },
        waitsForTurn: false,
        truncates: false,
      },
    ]);
  });

  test("answers a message in one object", async () => {
    const { id } = await create();
    const response = await host.post(`/v1/sessions/${id}/messages`, { content: "Hi" });
    expect(await response.json()).toMatchObject({
      object: "chat.completion",
      session_id: id,
      choices: [{ message: { content: "Hello you" } }],
    });
  });

  test("takes one message at a time, and clients must not retry by themselves", async () => {
    const { id } = await create();
    host.sessions.script = sessionBusy(id);
    const response = await host.post(`/v1/sessions/${id}/messages`, { content: "Hi", stream: true });
    expect([response.status, response.headers.get("x-should-retry")]).toEqual([409, "false"]);
    expect(await errorOf(response)).toMatchObject({ code: "session_busy" });
  });

  test("tells whether there was something to stop", async () => {
    const { id } = await create();
    expect(await (await host.post(`/v1/sessions/${id}/stop`, "")).json()).toEqual({ stopped: false });
    host.sessions.sessions.get(id)!.busy = true;
    expect(await (await host.post(`/v1/sessions/${id}/stop`, "")).json()).toEqual({ stopped: true });
  });

  test.each([
    ["GET", ""],
    ["DELETE", ""],
    ["POST", "/messages"],
    ["POST", "/stop"],
    ["POST", "/regenerate"],
    ["POST", "/fork"],
    ["PUT", "/messages/1"],
    ["GET", "/stream"],
  ])("that does not exist: %s …%s is a 404", async (method, rest) => {
    for (const id of ["0".repeat(32), "x", "%2e%2e%2f", "0".repeat(500)]) {
      const response = await host.app.request(`${ORIGIN}/v1/sessions/${id}${rest}`, {
        method,
        ...((method === "POST" || method === "PUT") && {
          body: '{"content":"x"}',
          headers: { "content-type": "application/json" },
        }),
      });
      expect(response.status).toBe(404);
      const error = await errorOf(response);
      expect(error.code).toBe("not_found");
      expect(error.message.length).toBeLessThan(120);
    }
  });
});

describe("a stream that is taken up", () => {
  async function cut(): Promise<{ id: string; whole: string; resume: (lastEventId?: string) => Promise<Response> }> {
    const { id } = await create();
    const body = { content: "Hi", stream: true, stream_options: { include_usage: true } };
    const whole = await (await host.post(`/v1/sessions/${id}/messages`, body)).text();
    host.sessions.open = { turn: 2, hasEnded: false };
    const resume = async (lastEventId?: string) =>
      get(`/v1/sessions/${id}/stream`, lastEventId === undefined ? {} : { "last-event-id": lastEventId });
    return { id, whole, resume };
  }

  test("goes on after any event with the same bytes, while the turn runs and after it", async () => {
    const { id, whole, resume } = await cut();
    const events = whole.split(/(?<=\n\n)/);
    expect(events).toHaveLength(6);
    for (const hasEnded of [false, true]) {
      host.sessions.open = { turn: 2, hasEnded };
      for (let numSeen = 1; numSeen < events.length; numSeen++) {
        const rest = events.slice(numSeen).join("");
        const response = await resume(`2-${numSeen}`);
        expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
        expect(await response.text()).toBe(rest);
        expect(await (await get(`/v1/sessions/${id}/stream?last_event_id=2-${numSeen}`)).text()).toBe(rest);
      }
    }
  });

  test("begins with the running turn's first event where none is named", async () => {
    const { whole, resume } = await cut();
    expect(await (await resume()).text()).toBe(whole);
  });

  test("is a 204 where there is nothing more: no turn runs, or all of it has been read", async () => {
    const { resume } = await cut();
    host.sessions.open = { turn: 2, hasEnded: true };
    for (const response of [await resume(), await resume("2-6")]) {
      expect([response.status, await response.text()]).toEqual([204, ""]);
    }
  });

  test("is refused for an event of another turn, and for what is no event's id", async () => {
    const { resume } = await cut();
    host.sessions.open = streamGone(1, 2);
    const gone = await resume("1-3");
    expect([gone.status, (await errorOf(gone)).code]).toEqual([410, "stream_gone"]);
    for (const id of ["x", "2", "2-", "0-1", "2-0", "-1-1", "1e3-1", "9".repeat(40)]) {
      const refused = await resume(id);
      expect([refused.status, (await errorOf(refused)).param]).toEqual([400, "last_event_id"]);
    }
  });
});

describe("a history that is rewritten", () => {
  test("another answer, other words, and how to wait and to make room", async () => {
    const { id } = await create();
    host.sessions.numTruncated = 4;
    const again = await host.post(`/v1/sessions/${id}/regenerate`, "");
    expect(await again.json()).toMatchObject({ object: "chat.completion", session_id: id });
    expect(again.headers.get("x-runnel-truncated-messages")).toBe("4");
    host.sessions.numTruncated = 0;
    const body = { content: "Better", if_busy: "queue", truncation: "auto", stream: true };
    const edited = await host.post(`/v1/sessions/${id}/messages/3`, body, { method: "PUT" });
    expect(edited.headers.has("x-runnel-truncated-messages")).toBe(false);
    expect(readSse(withoutIds(await edited.text(), 2)).chunks.length).toBeGreaterThan(2);
    expect(host.sessions.sent).toMatchObject([
      { question: { kind: "regenerate" }, waitsForTurn: false, truncates: false },
      { question: { kind: "edit", messageId: 3, content: "Better" }, waitsForTurn: true, truncates: true },
    ]);
  });

  test.each([
    ["PUT", "/messages/x", { content: "a" }, 404, null],
    ["PUT", "/messages/0", { content: "a" }, 404, null],
    ["PUT", "/messages/1", {}, 400, "content"],
    ["POST", "/messages", { content: "a", if_busy: "wait" }, 400, "if_busy"],
    ["POST", "/messages", { content: "a", truncation: true }, 400, "truncation"],
    ["POST", "/regenerate", { temperature: 9 }, 400, "temperature"],
    ["POST", "/fork", { message_id: "2" }, 400, "message_id"],
    ["POST", "/fork", { message_id: 0 }, 400, "message_id"],
  ])("%s …%s with %j is a %i", async (method, rest, body, status, param) => {
    const { id } = await create();
    const response = await host.post(`/v1/sessions/${id}${rest}`, body, { method });
    expect([response.status, (await errorOf(response)).param]).toEqual([status, param]);
    expect(host.sessions.sent).toEqual([]);
  });

  test("a fork is a new session of whoever asks for it", async () => {
    const { id } = await create();
    const response = await host.post(
      `/v1/sessions/${id}/fork`,
      { message_id: 2 },
      { headers: { "x-runnel-owner": OWNER } },
    );
    const fork = (await response.json()) as { id: string };
    expect([response.status, fork.id === id]).toEqual([201, false]);
    expect(await listed({ "x-runnel-owner": OWNER })).toEqual([fork.id]);
    await host.post(`/v1/sessions/${id}/fork`, "");
    expect(host.sessions.forks).toEqual([
      { messageId: 2, title: null },
      { messageId: null, title: null },
    ]);
  });
});

describe("an owner", () => {
  const cookieOf = (response: Response) => response.headers.get("set-cookie");

  test("is made for our own page with its first session, and kept in a cookie it cannot read", async () => {
    const response = await host.post("/v1/sessions", {}, { headers: OWN_PAGE });
    const cookie = cookieOf(response)!;
    expect(cookie).toMatch(/^runnel_owner=id-\d{30}; Path=\/v1; Max-Age=34560000; HttpOnly; SameSite=Strict$/);
    const headers = { ...OWN_PAGE, cookie: cookie.split(";")[0]! };
    const again = await host.post("/v1/sessions", {}, { headers });
    expect(cookieOf(again)).toBeNull();
    expect(await listed(headers)).toHaveLength(2);
  });

  test("gets a Secure cookie on https", async () => {
    const response = await host.app.request("https://edge.test/v1/sessions", {
      method: "POST",
      headers: { origin: "https://edge.test" },
    });
    expect(cookieOf(response)).toMatch(/; Secure$/);
  });

  test("may be named by a header, and only by a good one", async () => {
    const response = await host.post("/v1/sessions", {}, { headers: { "x-runnel-owner": OWNER } });
    expect(cookieOf(response)).toBeNull();
    expect(await listed({ "x-runnel-owner": OWNER })).toHaveLength(1);
    expect(await listed({ "x-runnel-owner": `${OWNER}x` })).toEqual([]);
    const refused = await get("/v1/sessions", { "x-runnel-owner": "short" });
    expect([refused.status, (await errorOf(refused)).param]).toEqual([400, "x-runnel-owner"]);
  });

  test("is not needed: a session without one is in no list", async () => {
    const { id } = await create();
    expect(await listed()).toEqual([]);
    expect((await get(`/v1/sessions/${id}`)).status).toBe(200);
  });

  test.each([
    ["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.test" }],
    ["another port of our host", { "sec-fetch-site": "same-site", origin: "http://edge.test:3000" }],
    ["another origin of an old browser", { origin: "https://evil.test" }],
    ["an opaque origin", { origin: "null" }],
  ])("is not lent to %s", async (_name, foreign: Record<string, string>) => {
    const cookie = `a=b; runnel_owner=${OWNER}; c=d`;
    await create({}, { ...OWN_PAGE, cookie });
    expect(await listed({ ...OWN_PAGE, cookie })).toHaveLength(1);
    expect(await listed({ ...foreign, cookie })).toEqual([]);
    const response = await host.post("/v1/sessions", {}, { headers: { ...foreign, cookie } });
    expect(cookieOf(response)).toBeNull();
    expect([...host.sessions.sessions.values()].at(-1)!.owner).toBeNull();
  });

  test("that is a broken cookie is none", async () => {
    expect(await listed({ cookie: "runnel_owner=short" })).toEqual([]);
    expect(await listed({ cookie: "runnel_owner" })).toEqual([]);
  });

  test("behind a proxy that took TLS off is recognised by the host", async () => {
    const response = await host.post("/v1/sessions", {}, { headers: { origin: "https://edge.test" } });
    expect(cookieOf(response)).not.toBeNull();
  });
});

describe("a socket", () => {
  const upgrade = { upgrade: "websocket" };

  test("is opened where the client has left it, by header or query", async () => {
    const { id } = await create();
    const connect = async (query: string, headers = {}) =>
      (await get(`/v1/sessions/${id}/ws${query}`, { ...upgrade, ...headers })).json();
    const position = { turn: 2, numEvents: 7 };
    expect(await connect("")).toEqual({ id, position: null });
    expect(await connect("?last_event_id=2-7")).toEqual({ id, position });
    expect(await connect("", { "last-event-id": "2-7", upgrade: "WebSocket" })).toEqual({ id, position });
  });

  test("needs an upgrade, a session and the id of an event", async () => {
    const { id } = await create();
    const path = `/v1/sessions/${id}/ws`;
    const plain = await get(path);
    expect([plain.status, plain.headers.get("upgrade")]).toEqual([426, "websocket"]);
    expect(await errorOf(plain)).toMatchObject({ code: "upgrade_required" });
    const head = await host.app.request(`${ORIGIN}${path}`, { method: "HEAD", headers: upgrade });
    expect(head.status).toBe(426);
    expect((await host.post(path, {}, { headers: upgrade })).status).toBe(405);
    expect((await get(`/v1/sessions/${"0".repeat(32)}/ws`, upgrade)).status).toBe(404);
    expect((await get("/v1/sessions/short/ws", upgrade)).status).toBe(404);
    expect(await errorOf(await get(`${path}?last_event_id=x`, upgrade))).toMatchObject({ param: "last_event_id" });
  });
});
