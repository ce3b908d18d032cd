/**
 * The chat page in a browser, as a person finds it: by roles and names. Each page has its own context, so its own
 * cookie and its own list of chats; whatever the page logs as an error, throws, or its Content-Security-Policy refuses
 * is collected in `complaints`.
 */
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from "playwright-core";

/** Long, since a busy machine may have to load a model meanwhile; nothing waits longer than it must. */
const WAIT_MAX_MS = 60_000;

/** Chromium logs every failed request as an error, and every socket that fails to open. */
const REQUEST_FAILED = /^(Failed to load resource|WebSocket connection to )/;

const CSP_PROBE = `
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(event.violatedDirective + " " + event.blockedURI);
  });
`;

export interface ChatPage {
  page: Page;
  context: BrowserContext;
  prompt: Locator;
  send: Locator;
  stop: Locator;
  /** Questions and answers, oldest first. */
  messages: Locator;
  answers: Locator;
  notice: Locator;
  /** Links of the list of chats. */
  chats: Locator;
  /** Types and presses Enter. */
  ask(text: string): Promise<void>;
  /** Waits for the first text of the last answer. */
  answerBegins(): Promise<void>;
  /** Waits until `num` answers are there and none of them grows; gives their texts. */
  settledAnswers(num: number): Promise<string[]>;
  /** Errors in the console, exceptions and refusals by the policy so far. */
  complaints(): Promise<string[]>;
  /** What Chromium logged of requests that failed; a test that breaks some on purpose empties it. */
  failedRequests: string[];
}

export async function openChat(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  prepare: (page: Page) => Promise<void> = async () => {},
): Promise<ChatPage> {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options });
  context.setDefaultTimeout(WAIT_MAX_MS);
  const page = await context.newPage();
  const errors: string[] = [];
  const failedRequests: string[] = [];
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    (REQUEST_FAILED.test(message.text()) ? failedRequests : errors).push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.addInitScript(CSP_PROBE);
  await prepare(page);
  await page.goto(url);
  await page.getByRole("textbox", { name: "Your message" }).waitFor();

  const answers = page.locator("#messages > .assistant");
  return {
    page,
    context,
    prompt: page.getByRole("textbox", { name: "Your message" }),
    send: page.getByRole("button", { name: "Send" }),
    stop: page.getByRole("button", { name: "Stop the answer" }),
    messages: page.locator("#messages > li"),
    answers,
    notice: page.getByRole("alert"),
    chats: page.locator("#sessions a"),
    ask: async (text) => {
      const prompt = page.getByRole("textbox", { name: "Your message" });
      await prompt.fill(text);
      await prompt.press("Enter");
    },
    answerBegins: () => answers.last().locator(".markdown > *").first().waitFor(),
    settledAnswers: async (num) => {
      await page
        .locator(`#messages:not([aria-busy]) > .assistant:not([data-status=pending]) >> nth=${num - 1}`)
        .waitFor();
      return answers.locator(".markdown").allInnerTexts();
    },
    complaints: async () => [...errors, ...failedRequests, ...(await page.evaluate<string[]>("window.violations"))],
    failedRequests,
  };
}

/** Adds fields to every message that the page sends, such as `temperature: 0`; the answer streams as it comes. */
export async function amendMessages(page: Page, fields: Record<string, unknown>): Promise<void> {
  await page.route(/\/v1\/sessions\/[^/]+\/messages(\/\d+)?$/, (route) =>
    route.continue({ postData: { ...(route.request().postDataJSON() as object), ...fields } as never }),
  );
}

/** Playwright's own `waitForFunction` needs `eval` in the page, which the page's policy forbids. */
export async function waitUntil(isTrue: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + WAIT_MAX_MS;
  while (!(await isTrue())) {
    if (Date.now() > deadlineMs) throw new Error(`What the test waits for did not happen within ${WAIT_MAX_MS} ms.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
