/** A Worker with API keys, as people meet it: the page asks for one and then works, and the dashboard shows what it did. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeKey } from "../../scripts/keys/make-key.ts";
import { launchBrowser } from "../support/browser.ts";
import { amendMessages, openChat, waitUntil } from "../support/chat-page.ts";
import { type RunningServer, startServer } from "./server.ts";

const METRICS_TOKEN = "e2e-metrics-token";
const SEEN = join(import.meta.dirname, "../../dist/screenshots");

const wish = { models: undefined, requestsPerMinute: undefined, tokensPerMinute: undefined, expires: undefined };
const { text: key, key: stored } = makeKey({ ...wish, name: "e2e", requestsPerMinute: "1000" }, Date.now());

let server: RunningServer;
let browser: Browser;
let persistTo: string;

beforeAll(async () => {
  persistTo = await mkdtemp(join(tmpdir(), "runnel-keys-"));
  await mkdir(SEEN, { recursive: true });
  const args = ["--var", `API_KEYS:${JSON.stringify([stored])}`, "--var", `METRICS_TOKEN:${METRICS_TOKEN}`];
  [server, browser] = await Promise.all([startServer({ persistTo, args }), launchBrowser()]);
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
  await rm(persistTo, { recursive: true, force: true });
});

test("the OpenAPI document is there for who has no key", async () => {
  const response = await fetch(`${server.url}/openapi.json`);
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
  expect(await response.json()).toMatchObject({ openapi: "3.1.0", paths: { "/v1/chat/completions": {} } });
});

test("the openai client sees its limits, and without a key what is wrong", async () => {
  const client = (apiKey: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 });
  const refused = await client("sk-wrong")
    .models.list()
    .catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(OpenAI.AuthenticationError);
  expect(refused).toMatchObject({ status: 401, code: "invalid_api_key" });
  const { data } = await client(key).models.list();
  const messages = [{ role: "user" as const, content: "What is a token?" }];
  const asked = client(key).chat.completions.create({ model: data[0]!.id, messages, max_tokens: 8, temperature: 0 });
  const { response, data: answer } = await asked.withResponse();
  expect(answer.usage!.completion_tokens).toBeGreaterThan(0);
  expect(response.headers.get("x-ratelimit-limit-requests")).toBe("1000");
});

describe("the chat page", () => {
  test("asks for the key, keeps it, and chats and watches with it", async () => {
    const chat = await openChat(browser, server.url, {}, (page) => amendMessages(page, { temperature: 0 }));
    const { page } = chat;
    const dialog = page.getByRole("dialog", { name: "API key" });
    await dialog.waitFor();
    expect(await dialog.textContent()).toContain("This server needs an API key.");

    await dialog.getByRole("textbox", { name: "API key" }).fill("two words");
    await dialog.getByRole("button", { name: "Save" }).click();
    expect(await dialog.textContent()).toContain("This is no key");
    await dialog.getByRole("textbox", { name: "API key" }).fill("rk_wrong");
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.getByText("The server does not take the key that you gave.").waitFor();

    const framesSeen = socketFrames(page);
    await dialog.getByRole("textbox", { name: "API key" }).fill(key);
    await page.screenshot({ path: join(SEEN, "key-dialog.png") });
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "hidden" });
    await chat.ask("What is a KV cache?");
    const [answer] = await chat.settledAnswers(1);
    expect(answer!.length).toBeGreaterThan(20);
    // The session's socket opened, with the key among its subprotocols.
    await waitUntil(async () => framesSeen().some((frame) => frame.includes('"type":"session"')));

    await page.reload();
    expect(await chat.settledAnswers(1)).toEqual([answer]);
    expect(await dialog.isVisible()).toBe(false);
    expect(await chat.chats.count()).toBe(1);
    // What was refused on purpose is all that went wrong.
    const complaints = (await chat.complaints()).filter((text) => !/status of 401|WebSocket connection/.test(text));
    expect(complaints).toEqual([]);
    await chat.context.close();
  });
});

describe("the dashboard", () => {
  test.each(["light", "dark"] as const)("plots what was served, for who has the token (%s)", async (theme) => {
    const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, colorScheme: theme });
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" && !/status of 401/.test(message.text())) errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(String(error)));
    const head = await page.goto(`${server.url}/dashboard`);
    expect(head!.headers()["content-security-policy"]).toContain("default-src 'none'");
    expect(await page.getByRole("status").textContent()).toBeTruthy();
    await page.getByLabel("Metrics token or API key").fill(METRICS_TOKEN);
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator(".card").nth(4).waitFor();
    expect(await page.getByRole("heading", { level: 2 }).allInnerTexts()).toEqual([
      "Time to first token s",
      "Tokens tokens/s",
      "Sequences",
      "KV cache in use %",
      "Requests a minute",
    ]);
    const drawn = await page.locator(".card").first().locator("path.line").first().getAttribute("d");
    expect(drawn).toMatch(/^M[\d.]+ [\d.]+/);
    await page.screenshot({ path: join(SEEN, `dashboard-${theme}.png`) });
    await page.getByText("As a table").click();
    expect(await page.getByRole("columnheader").count()).toBe(10);
    expect(await page.getByRole("row").count()).toBe(16);
    // What the lines show is in the table, too: the newest minutes had tokens.
    const generated = await page.locator("tbody tr td:nth-child(4)").allTextContents();
    expect(generated.slice(0, 3).some((text) => Number(text) > 0)).toBe(true);
    await page.screenshot({ path: join(SEEN, `dashboard-table-${theme}.png`), fullPage: true });
    expect(errors).toEqual([]);
    await context.close();
  });
});

function socketFrames(page: Page): () => string[] {
  const frames: string[] = [];
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(String(payload))));
  return () => frames;
}
