/** Whose pages may use a Worker with a list of origins. */
import { describe, expect, test } from "vitest";
import { addTinyModel, errorOf, request } from "../edge/stack.ts";
import { getAs, sessionAs } from "./asking.ts";
import { ALLOWED_MODEL } from "./key-config.ts";

const ALLOWED = "https://app.example.com";

describe("a page of a listed origin", () => {
  test.each([ALLOWED, "http://localhost:5173"])("(%s) may read, and no other page its answer", async (origin) => {
    const response = await getAs("anne", "/v1/models", { origin, "sec-fetch-site": "cross-site" });
    expect(response.status).toBe(200);
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    expect(response.headers.get("vary")).toContain("origin");
    expect(response.headers.get("access-control-expose-headers")).toContain("x-ratelimit-remaining-tokens");
    expect(response.headers.has("access-control-allow-credentials")).toBe(false);
  });

  test("is told why its key was refused", async () => {
    const response = await request("/v1/models", { headers: { origin: ALLOWED, "sec-fetch-site": "cross-site" } });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([401, ALLOWED]);
  });

  test("has its preflight answered without a key", async () => {
    const headers = {
      origin: ALLOWED,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,x-stainless-os",
    };
    const response = await request("/v1/chat/completions", { method: "OPTIONS", headers });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([204, ALLOWED]);
    expect(response.headers.get("access-control-allow-headers")).toContain("x-stainless-os");
  });
});

describe("a page of any other origin", () => {
  const FOREIGN = ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"];

  test.each(FOREIGN)("(%s) is refused, with a right key too", async (origin) => {
    for (const headers of [{ origin }, { origin, "sec-fetch-site": "cross-site" }]) {
      const response = await getAs("anne", "/v1/models", headers);
      expect(response.headers.has("access-control-allow-origin")).toBe(false);
      expect(await errorOf(response)).toMatchObject({ status: 403, code: "origin_not_allowed" });
    }
  });

  test("gets no preflight and no socket", async () => {
    const headers = { origin: "https://evil.example", "access-control-request-method": "POST" };
    expect((await request("/v1/chat/completions", { method: "OPTIONS", headers })).status).toBe(403);
    await addTinyModel(ALLOWED_MODEL);
    const id = await sessionAs("anne", ALLOWED_MODEL);
    const foreign = { origin: "https://evil.example", upgrade: "websocket" };
    expect((await getAs("anne", `/v1/sessions/${id}/ws`, foreign)).status).toBe(403);
  });
});

test("our own page needs no place on the list", async () => {
  const own = { origin: "http://edge.test", "sec-fetch-site": "same-origin" };
  expect((await getAs("anne", "/v1/models", own)).status).toBe(200);
});

test("every answer says that its type is no guess", async () => {
  for (const path of ["/health", "/v1/models", "/nope"]) {
    expect((await request(path)).headers.get("x-content-type-options")).toBe("nosniff");
  }
});
