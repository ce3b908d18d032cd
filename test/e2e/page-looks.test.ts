/**
 * How the chat page looks: contrast measured, and screenshots compared with those in `screenshots/`. The server's
 * replies are fixed here, since a picture needs the same words each time and a model's words change with its weights;
 * page.test.ts has the real ones. `UPDATE_SCREENSHOTS=1 npm run test:e2e` writes new baselines; what was seen last is in
 * `dist/screenshots/`.
 */
import { createReadStream, existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { type ChatPage, openChat } from "../support/chat-page.ts";
import { decodePng, imageDifference } from "../support/png.ts";

const ROOT = join(import.meta.dirname, "../..");
const BASELINES = join(import.meta.dirname, "screenshots");
const SEEN = join(ROOT, "dist/screenshots");

/** Share of pixels that may look different: room for rounding on another CPU, not for a moved line of text. */
const DIFFERENCE_MAX = 0.002;

const SIZES: Record<string, BrowserContextOptions> = {
  desktop: { viewport: { width: 1100, height: 760 } },
  phone: { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true },
};
const THEMES = ["light", "dark"] as const;

const SESSION = {
  id: "0123456789abcdef0123456789abcdef",
  title: "What is a KV cache?",
  model: "runnel-demo",
  created_at: 1_790_000_000,
  updated_at: 1_790_000_000,
  busy: false,
  messages: [
    { role: "user", content: "What is a KV cache?", finish_reason: null },
    {
      role: "assistant",
      content:
        "The **KV cache** holds the keys and values of every token so far, so a new token attends to them without " +
        "computing them again.\n\n- Decode gets cheap: one new row for each token.\n- Memory grows with " +
        "`2 · layers · heads · dim` numbers a token.",
      finish_reason: "stop",
    },
    { role: "user", content: "How would I compute its size?", finish_reason: null },
    {
      role: "assistant",
      content: "Multiply it out:\n\n```js\nconst bytes = 2 * layers * kvHeads * headDim * numTokens * 2;\n```\n\nFor a",
      finish_reason: "abort",
    },
  ],
};

const REPLIES: Record<string, unknown> = {
  "/v1/models": {
    data: [
      { id: "runnel-demo", max_model_len: 1024, description: "A tiny demo model: LLM serving and short stories." },
    ],
  },
  "/v1/sessions": { data: [SESSION, { ...SESSION, id: "f".repeat(32), title: "Tell me a story about a red dragon" }] },
  [`/v1/sessions/${SESSION.id}`]: SESSION,
};

/** As the page itself would have measured them before a reload. */
const USAGE = { promptTokens: 61, completionTokens: 63, cachedTokens: 48 };
const TIMINGS = [null, { sentAtMs: 0, firstTokenAtMs: 84, lastTokenAtMs: 584, numDeltas: 63, usage: USAGE }];

let browser: Browser;
let files: Server;
let url: string;

beforeAll(async () => {
  [browser, files] = await Promise.all([launchBrowser(), serveFiles(join(ROOT, "public"))]);
  url = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  await mkdir(SEEN, { recursive: true });
});

afterAll(async () => {
  await browser?.close();
  files?.close();
});

const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

/** The static files, as they are. */
async function serveFiles(root: string): Promise<Server> {
  const server = createServer((request, response) => {
    const path = join(root, normalize(new URL(request.url!, "http://x").pathname).replace(/\/$/, "/index.html"));
    if (!existsSync(path)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" });
    createReadStream(path).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

async function fixReplies(page: Page): Promise<void> {
  // Noon of the day on which the chats were last used, so that they are "Today" on every day.
  await page.clock.setFixedTime(SESSION.updated_at * 1000);
  const timings = JSON.stringify(JSON.stringify(TIMINGS));
  await page.addInitScript(`sessionStorage.setItem("runnel.timings.${SESSION.id}", ${timings})`);
  // A socket that is open and says nothing.
  await page.routeWebSocket("**/v1/**", () => {});
  await page.route("**/v1/**", (route) => route.fulfill({ json: REPLIES[new URL(route.request().url()).pathname] }));
}

async function open(options: BrowserContextOptions, path = ""): Promise<ChatPage> {
  const chat = await openChat(browser, `${url}/${path}`, { ...options, timezoneId: "UTC", locale: "en" }, fixReplies);
  await chat.page.getByText("A tiny demo model").waitFor();
  return chat;
}

async function openConversation(options: BrowserContextOptions): Promise<ChatPage> {
  const chat = await open(options, `#/c/${SESSION.id}`);
  await chat.settledAnswers(2);
  return chat;
}

async function expectToLookLike(page: Page, name: string): Promise<void> {
  await page.evaluate("document.fonts.ready");
  const seen = await page.screenshot({ animations: "disabled", caret: "hide" });
  await writeFile(join(SEEN, `${name}.png`), seen);
  const baseline = join(BASELINES, `${name}.png`);
  if (process.env.UPDATE_SCREENSHOTS) {
    await mkdir(BASELINES, { recursive: true });
    await writeFile(baseline, seen);
  }
  const difference = imageDifference(decodePng(seen), decodePng(await readFile(baseline)));
  const advice = `Compare dist/screenshots/${name}.png with ${baseline}; if the change is meant, run with UPDATE_SCREENSHOTS=1.`;
  expect(difference, advice).toBeLessThanOrEqual(DIFFERENCE_MAX);
}

describe.each(Object.keys(SIZES))("%s", (size) => {
  test.each(THEMES)("a settled conversation, %s", async (theme) => {
    const chat = await openConversation({ ...SIZES[size], colorScheme: theme });
    await expectToLookLike(chat.page, `conversation-${size}-${theme}`);
    expect(await chat.complaints()).toEqual([]);
    await chat.context.close();
  });

  test.each(THEMES)("a message that is being edited, %s", async (theme) => {
    const chat = await openConversation({ ...SIZES[size], colorScheme: theme });
    await chat.page.getByRole("button", { name: "Edit your message" }).last().click();
    await expectToLookLike(chat.page, `editing-${size}-${theme}`);
    await chat.context.close();
  });

  test.each(THEMES)("all text has enough contrast, %s", async (theme) => {
    const probe = await readFile(join(ROOT, "test/support/contrast-probe.js"), "utf8");
    const chat = await openConversation({ ...SIZES[size], colorScheme: theme });
    await chat.page.evaluate("document.querySelectorAll('.icon-button').forEach((b) => { b.style.opacity = 1; })");
    const checks = [await chat.page.evaluate<Contrast>(probe)];
    await chat.page.getByRole("button", { name: "Edit your message" }).last().click();
    checks.push(await chat.page.evaluate<Contrast>(probe));
    await chat.page.keyboard.press("Escape");
    await chat.page.route("**/messages", (route) => route.fulfill({ status: 500, body: "{}" }));
    await chat.ask("Hello");
    await chat.notice.waitFor();
    checks.push(await chat.page.evaluate<Contrast>(probe));
    const empty = await open({ ...SIZES[size], colorScheme: theme });
    checks.push(await empty.page.evaluate<Contrast>(probe));
    expect(checks.flatMap(({ weak }) => weak)).toEqual([]);
    expect(Math.min(...checks.map(({ numChecked }) => numChecked))).toBeGreaterThan(6);
    await Promise.all([chat.context.close(), empty.context.close()]);
  });
});

interface Contrast {
  numChecked: number;
  weak: { text: string; ratio: number; needed: number }[];
}

test("the welcome of a new chat", async () => {
  const chat = await open(SIZES.desktop!);
  await expectToLookLike(chat.page, "welcome-desktop-light");
  await chat.context.close();
});

test("the theme follows the system until one is chosen, and the choice is kept", async () => {
  const chat = await open({ ...SIZES.desktop, colorScheme: "light" });
  // The browser tells the page of a new system theme with its next frame.
  const expectTheme = (theme: string) => chat.page.locator(`html[data-theme=${theme}]`).waitFor();
  const toggle = chat.page.getByRole("button", { name: "Dark theme" });
  await chat.page.emulateMedia({ colorScheme: "dark" });
  await expectTheme("dark");
  await toggle.click();
  await expectTheme("light");
  expect(await toggle.getAttribute("aria-pressed")).toBe("false");
  await chat.page.reload();
  await expectTheme("light");
  await toggle.click();
  await expectTheme("dark");
  await chat.page.emulateMedia({ colorScheme: "light" });
  await expectTheme("light");
  await chat.context.close();
});

test("a chosen theme does not change with the system", async () => {
  const chat = await open({ ...SIZES.desktop, colorScheme: "light" });
  await chat.page.getByRole("button", { name: "Dark theme" }).click();
  await chat.page.evaluate(`
    window.changes = 0;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.changes++);
  `);
  await chat.page.emulateMedia({ colorScheme: "dark" });
  await chat.page.waitForFunction("window.changes === 1");
  await chat.page.emulateMedia({ colorScheme: "light" });
  await chat.page.waitForFunction("window.changes === 2");
  expect(await chat.page.evaluate("document.documentElement.dataset.theme")).toBe("dark");
  await chat.context.close();
});

test("nothing moves for those who ask for it", async () => {
  const chat = await open({ ...SIZES.desktop, reducedMotion: "reduce" });
  const slowest = await chat.page.evaluate<number>(`Math.max(...[...document.querySelectorAll("*")].map((e) =>
    Math.max(...getComputedStyle(e).transitionDuration.split(",").map(Number.parseFloat))))`);
  expect(slowest).toBeLessThanOrEqual(0.001);
  await chat.context.close();
});
