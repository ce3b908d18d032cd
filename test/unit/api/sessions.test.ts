import { beforeEach, describe, expect, test } from "vitest";
import { sessionBusy } from "../../../src/protocol/errors.ts";
import { readSse } from "../protocol/sse-reader.ts";
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
    const { chunks } = readSse(await response.text());
    for (const chunk of chunks) expect(chunk).toMatchObject({ object: "chat.completion.chunk", session_id: id });
    expect(chunks.map(({ choices }) => choices[0]?.delta?.content ?? "").join("")).toBe("Hello you");
    expect(chunks.at(-1)!.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 4 } });
    expect(host.sessions.sent).toMatchObject([
      { content: "Hi", request: { sampling: { temperature: 0 }, maxTokens: 5 } },
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
  ])("that does not exist: %s …%s is a 404", async (method, rest) => {
    for (const id of ["0".repeat(32), "x", "%2e%2e%2f", "0".repeat(500)]) {
      const response = await host.app.request(`${ORIGIN}/v1/sessions/${id}${rest}`, {
        method,
        ...(method === "POST" && { body: '{"content":"x"}', headers: { "content-type": "application/json" } }),
      });
      expect(response.status).toBe(404);
      const error = await errorOf(response);
      expect(error.code).toBe("not_found");
      expect(error.message.length).toBeLessThan(120);
    }
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
