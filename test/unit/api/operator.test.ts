/** What an operator asks of the API: whose pages, whose key, what is logged and counted. */
import { describe, expect, test } from "vitest";
import type { Caller } from "../../../src/api/caller.ts";
import { corsPolicy, LOOPBACK_ORIGINS, parseOrigins } from "../../../src/api/cors-policy.ts";
import { credentialOf, sameBytes, sha256, socketProtocolOf } from "../../../src/api/credential.ts";
import type { EndedRequest } from "../../../src/api/observer.ts";
import { keyOfOwner, ownerOf } from "../../../src/api/owner.ts";
import type { GenerationSummary } from "../../../src/api/request-meter.ts";
import { rateLimited } from "../../../src/protocol/errors.ts";
import { answer, delta, start } from "../protocol/events.ts";
import { CHAT, errorOf, ORIGIN, scriptedHost } from "./scripted-host.ts";

const KEY: Caller = { keyId: "key_0123456789ab", models: null };

describe("patterns of origins", () => {
  const CASES: [string, string[], string[]][] = [
    ["https://app.example.com", ["https://app.example.com", "https://APP.example.com"], ["http://app.example.com"]],
    ["https://*.example.com", ["https://a.example.com", "https://a.b.example.com"], ["https://example.com"]],
    [
      "http://localhost:*",
      ["http://localhost", "http://localhost:5173"],
      ["http://localhost:x", "http://localhost.io"],
    ],
    ["https://a.example:8443", ["https://a.example:8443"], ["https://a.example", "https://a.example:84430"]],
    ["http://[::1]:*", ["http://[::1]:80"], ["http://[::2]:80"]],
  ];

  test.each(CASES)("%s", (pattern, allowed, refused) => {
    const policy = corsPolicy([pattern]);
    if (policy === "any") throw new Error("It is a list.");
    for (const origin of allowed) expect([origin, policy(origin)]).toEqual([origin, true]);
    for (const origin of [...refused, "null", "", `${allowed[0]}.evil.test`, `https://evil.test/${allowed[0]}`]) {
      expect([origin, policy(origin)]).toEqual([origin, false]);
    }
  });

  test.each(["example.com", "https://example.com/", "https://exa*mple.com", "https://*", "javascript:alert(1)"])(
    "%s is none, and the operator is told",
    (pattern) => {
      expect(() => corsPolicy([pattern])).toThrow(/CORS_ORIGINS has '.*must be \*, or an origin such as/);
    },
  );

  test("a star is everybody, and lists are read with commas or spaces", () => {
    expect(corsPolicy(parseOrigins("*"))).toBe("any");
    expect(parseOrigins(" https://a.example,  https://b.example ")).toEqual(["https://a.example", "https://b.example"]);
  });

  test("this machine's pages are pages of this machine", () => {
    const policy = corsPolicy(LOOPBACK_ORIGINS);
    if (policy === "any") throw new Error("It is a list.");
    expect(["http://localhost:3000", "http://127.0.0.1:8787", "http://app.localhost:1"].every(policy)).toBe(true);
    expect(["https://example.com", "http://127.0.0.1.evil.test", "http://10.0.0.1"].some(policy)).toBe(false);
  });
});

describe("a key in a request", () => {
  const asked = (headers: Record<string, string>) => new Request("http://x/", { headers });

  test.each([
    [{ authorization: "Bearer rk_a" }, "rk_a"],
    [{ authorization: "bearer   rk_a" }, "rk_a"],
    [{ "x-api-key": " rk_b " }, "rk_b"],
    [{ authorization: "Basic abc", "x-api-key": "rk_b" }, "rk_b"],
    [{ "sec-websocket-protocol": "runnel, bearer.rk_c" }, "rk_c"],
    [{ "sec-websocket-protocol": "runnel, bearer." }, null],
    [{ authorization: "Bearer " }, null],
    [{}, null],
  ] as [Record<string, string>, string | null][])("%j is %s", (headers, key) => {
    expect(credentialOf(asked(headers))).toBe(key);
  });

  test("the protocol of ours is chosen, and never the one with the key", () => {
    expect(socketProtocolOf(asked({ "sec-websocket-protocol": "bearer.rk_c, runnel" }))).toBe("runnel");
    expect(socketProtocolOf(asked({ "sec-websocket-protocol": "bearer.rk_c" }))).toBeNull();
  });

  test("digests compare as bytes do", async () => {
    const [a, again, b] = await Promise.all(["a", "a", "b"].map(sha256));
    expect([sameBytes(a!, again!), sameBytes(a!, b!), sameBytes(a!, a!.slice(1))]).toEqual([true, false, false]);
  });
});

test("an owner behind a key is the key's, and a cookie means nothing there", () => {
  const owner = "o".repeat(32);
  const asked = (headers: Record<string, string>) => new Request("http://x/v1/sessions", { headers });
  const owners = [
    ownerOf(asked({}), KEY),
    ownerOf(asked({ cookie: `runnel_owner=${owner}` }), KEY),
    ownerOf(asked({ "x-runnel-owner": owner }), KEY),
  ];
  expect(owners).toEqual([KEY.keyId, KEY.keyId, `${KEY.keyId}.${owner}`]);
  expect(owners.map(keyOfOwner)).toEqual([KEY.keyId, KEY.keyId, KEY.keyId]);
  // What a client without a key may call itself is no key's.
  expect([null, owner, `key_${"0".repeat(30)}`].map(keyOfOwner)).toEqual([null, null, null]);
});

describe("the record of a request", () => {
  test("of a stream is written at its end, with what it took", async () => {
    const { app: _, clock, ...host } = scriptedHost({ authorize: () => KEY });
    host.models.script = answer("Hello", " you");
    const response = await host.post("/v1/chat/completions", { ...CHAT, stream: true });
    expect(host.records).toEqual([]);
    clock.advance(250);
    await response.text();
    expect(host.records).toHaveLength(1);
    expect(host.records[0]).toMatchObject({
      event: "request",
      route: "/v1/chat/completions",
      status: 200,
      durationMs: 0,
      keyId: KEY.keyId,
      model: CHAT.model,
      promptTokens: 7,
      cachedTokens: 4,
      completionTokens: 3,
      ttftMs: 250,
      totalMs: 250,
      finishReasons: ["stop"],
      abortedBy: null,
      errorCode: null,
    });
  });

  test("says that its client left", async () => {
    const host = scriptedHost();
    host.models.script = [start(), delta("Hel"), new Promise(() => {})];
    const response = await host.post("/v1/chat/completions", { ...CHAT, stream: true });
    const reader = response.body!.getReader();
    // What opens the stream, and the first word.
    await reader.read();
    await reader.read();
    await reader.cancel();
    await Promise.resolve();
    expect(host.records.at(-1)).toMatchObject({ abortedBy: "client", completionTokens: 1 });
  });

  test("has the prompt where the operator asks for it, and no answer", async () => {
    const host = scriptedHost({ logsPrompts: true });
    await host.post("/v1/chat/completions", CHAT);
    expect(host.records.at(-1)).toMatchObject({ prompt: expect.stringContaining('"content":"Hi"') });
    expect(JSON.stringify(host.records)).not.toContain("Hello");
  });
});

test("limits are taken before the model is asked, put right at the end, and told", async () => {
  const settled: number[] = [];
  const taken: number[] = [];
  const grant = {
    headers: { "x-ratelimit-remaining-requests": "7" },
    settle: async (num: number) => void settled.push(num),
  };
  const host = scriptedHost({
    authorize: () => KEY,
    limits: {
      take: async (_, numTokens) => {
        taken.push(numTokens);
        if (taken.length > 2) throw rateLimited("requests", 2, 12.3, { "x-ratelimit-remaining-requests": "0" });
        return grant;
      },
    },
  });
  const response = await host.post("/v1/chat/completions", { ...CHAT, max_tokens: 50 });
  expect(response.headers.get("x-ratelimit-remaining-requests")).toBe("7");
  expect(taken).toEqual([55]);
  expect(settled).toEqual([10]);
  host.models.script = new Error("broken");
  await host.post("/v1/chat/completions", CHAT);
  expect(settled).toEqual([10, 0]);
  const numAsked = host.models.requests.length;
  const refused = await host.post("/v1/chat/completions", CHAT);
  expect(await errorOf(refused)).toMatchObject({ type: "rate_limit_error", code: "rate_limit_exceeded" });
  expect([refused.status, refused.headers.get("retry-after"), refused.headers.get("retry-after-ms")]).toEqual([
    429,
    "13",
    "12300",
  ]);
  expect(refused.headers.get("x-ratelimit-remaining-requests")).toBe("0");
  expect(host.models.requests.length).toBe(numAsked);
});

test("an observer hears of each generation and each request once", async () => {
  const generations: Readonly<GenerationSummary>[] = [];
  const requests: EndedRequest[] = [];
  const host = scriptedHost({
    observer: {
      betweenTokens: () => {},
      generationEnded: (summary) => void generations.push(summary),
      requestEnded: (request) => void requests.push(request),
      flush: async () => {},
    },
  });
  await (await host.post("/v1/chat/completions", { ...CHAT, stream: true })).text();
  await host.post("/v1/chat/completions", { ...CHAT, temperature: 9 });
  await host.app.request(`${ORIGIN}/nope`);
  await Promise.resolve();
  expect(generations).toMatchObject([{ model: CHAT.model, completionTokens: 3, errorCode: null }]);
  expect(requests).toEqual([
    { route: "/v1/chat/completions", status: 200, model: CHAT.model },
    { route: "/v1/chat/completions", status: 400, model: null },
    { route: "-", status: 404, model: null },
  ]);
});

test("a tenant's salt is no other's, whatever a client chooses", async () => {
  const host = scriptedHost({ authorize: () => KEY });
  await host.post("/v1/chat/completions", { ...CHAT, cache_salt: "mine" });
  expect(host.models.requests[0]!.request.cacheSalt).toBe(`${KEY.keyId}:mine`);
});

test("sessions are the key's", async () => {
  let caller = KEY;
  const host = scriptedHost({ authorize: () => caller });
  const created = (await (await host.post("/v1/sessions", { model: CHAT.model })).json()) as { id: string };
  const status = async () => (await host.app.request(`${ORIGIN}/v1/sessions/${created.id}`)).status;
  expect(await status()).toBe(200);
  caller = { keyId: "key_other0000000", models: null };
  expect(await status()).toBe(404);
});
