/**
 * The chat page in a real Chromium against the real server: what a person does with it, and what it does when things
 * break. Keyboard, screen reader and phone are in page-access.test.ts, its looks in page-looks.test.ts.
 */
import type { Page } from "playwright-core";
import { afterEach, describe, expect, test } from "vitest";
import { type ChatPage, waitUntil } from "../support/chat-page.ts";
import { ENDLESS, GREEDY, useChatPages } from "./chat-pages.ts";

const QUESTION = "What is a KV cache?";

/** Two more starts of the server are inside. */
const RESTART_TIMEOUT_MS = 360_000;

const { open, opened, restart, url } = useChatPages();

/** The server's own view of the chat on screen. */
async function storedSession({ page, context }: ChatPage) {
  const response = await context.request.get(`${url()}/v1/sessions/${sessionId(page)}`);
  return (await response.json()) as {
    model: string;
    messages: { role: string; content: string; finish_reason: string }[];
  };
}

function sessionId(page: Page): string {
  return /#\/c\/(.+)$/.exec(page.url())![1]!;
}

/** The lengths that the last answer's text went through. */
async function watchGrowth(page: Page): Promise<() => Promise<number[]>> {
  await page.evaluate(`
    window.lengths = [];
    new MutationObserver(() => {
      const length = document.querySelector("#messages > .assistant:last-child .markdown")?.textContent.length ?? 0;
      if (window.lengths.at(-1) !== length) window.lengths.push(length);
    }).observe(document.getElementById("messages"), { subtree: true, childList: true, characterData: true });
  `);
  return () => page.evaluate<number[]>("window.lengths");
}

test("the page comes under a strict policy", async () => {
  const { headers } = await fetch(url());
  expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
});

describe("a conversation", () => {
  test("type, stream, read the numbers, reload, continue", async () => {
    const chat = await open();
    await chat.ask(QUESTION);
    const [answer] = await chat.settledAnswers(1);
    expect(answer!.length).toBeGreaterThan(20);

    expect(await chat.answers.first().locator(".details").textContent()).toMatch(
      /^[\d.]+ m?s to first token[\d.]+ tokens\/s\d+ tokens/,
    );
    expect((await storedSession(chat)).messages.map(({ content }) => content)).toEqual([QUESTION, answer]);

    await chat.page.reload();
    expect(await chat.settledAnswers(1)).toEqual([answer]);
    expect(await chat.messages.first().textContent()).toContain(QUESTION);
    await chat.ask("Why?");
    const [first, second] = await chat.settledAnswers(2);
    expect(first).toBe(answer);
    expect(second!.length).toBeGreaterThan(0);
    // The second turn reused the first one's KV blocks.
    expect(await chat.answers.last().locator(".details").textContent()).toMatch(/\d+ cached/);
  });

  test("stop keeps what there is, marks it, and the next message goes on from there", async () => {
    const chat = await open(ENDLESS);
    const lengths = await watchGrowth(chat.page);
    await chat.ask(QUESTION);
    // The text comes in steps, and only ever grows.
    await waitUntil(async () => (await lengths()).length > 5);
    await chat.stop.click();
    const [partial] = await chat.settledAnswers(1);
    const steps = await lengths();
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    expect(await chat.answers.first().locator(".note").textContent()).toBe("Stopped");
    const { messages } = await storedSession(chat);
    expect(messages[1]).toMatchObject({ finish_reason: "abort" });
    expect(messages[1]!.content.trim().length).toBeGreaterThanOrEqual(partial!.trim().length);

    await chat.page.reload();
    await chat.settledAnswers(1);
    expect(await chat.answers.first().locator(".note").textContent()).toBe("Stopped");
    await chat.ask("And then?");
    await chat.answerBegins();
    await chat.page.keyboard.press("Escape");
    await chat.settledAnswers(2);
  });

  test("a reload in mid-answer shows the answer growing to its end", async () => {
    const chat = await open(ENDLESS);
    await chat.ask(QUESTION);
    await chat.answerBegins();
    await chat.page.reload();
    await chat.page.locator("#messages[aria-busy]").waitFor();
    expect(await chat.stop.isVisible()).toBe(true);
    await chat.settledAnswers(1);
    expect(await chat.answers.first().locator(".note").textContent()).toBe("Cut at the length limit");
    expect((await storedSession(chat)).messages[1]).toMatchObject({ finish_reason: "length" });
  });

  test("the reader may scroll up while it streams, and jump back", async () => {
    const chat = await open(ENDLESS, { viewport: { width: 700, height: 420 } });
    await chat.ask(QUESTION);
    await waitUntil(() => chat.page.evaluate("scroller.scrollHeight > scroller.clientHeight + 200"));
    const distance = () =>
      chat.page.evaluate<number>("scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop");
    expect(await distance()).toBeLessThan(48);
    await chat.page.locator("#scroller").hover();
    await chat.page.mouse.wheel(0, -5000);
    await chat.page.getByRole("button", { name: "Jump to latest" }).click();
    expect(await distance()).toBeLessThan(48);
    await chat.page.keyboard.press("Escape");
    await chat.settledAnswers(1);
    expect(await chat.page.getByRole("button", { name: "Jump to latest" }).isVisible()).toBe(false);
  });

  test("copy gives the answer's text", async () => {
    const chat = await open(GREEDY, { permissions: ["clipboard-read", "clipboard-write"] });
    await chat.page.getByRole("button", { name: "What are you?" }).click();
    const [answer] = await chat.settledAnswers(1);
    await chat.page.getByRole("button", { name: "Copy the answer" }).click();
    await chat.page.getByRole("button", { name: "Copied" }).waitFor();
    expect(await chat.page.evaluate("navigator.clipboard.readText()")).toBe(answer);
  });
});

describe("chats", () => {
  test("new chat, switch, delete; the list survives a reload", async () => {
    const chat = await open();
    await chat.ask(QUESTION);
    const [first] = await chat.settledAnswers(1);
    await chat.page.getByRole("button", { name: "New chat" }).click();
    await chat.ask("What are you?");
    const [second] = await chat.settledAnswers(1);
    expect(second).not.toBe(first);
    await chat.page.reload();
    await chat.chats.nth(1).waitFor();
    expect(await chat.chats.allInnerTexts()).toEqual(["What are you?", QUESTION]);

    await chat.page.getByRole("link", { name: QUESTION }).click();
    await chat.page.locator("#sessions [aria-current=page]").getByText(QUESTION).waitFor();
    expect(await chat.settledAnswers(1)).toEqual([first]);
    await chat.page.goBack();
    await chat.page.getByRole("heading", { name: "What are you?", level: 1 }).waitFor({ state: "attached" });

    await chat.page.getByRole("link", { name: "What are you?" }).hover();
    await chat.page.getByRole("button", { name: "Delete “What are you?”" }).click();
    await chat.page.getByRole("button", { name: "Keep" }).click();
    expect(await chat.chats.count()).toBe(2);
    await chat.page.getByRole("button", { name: "Delete “What are you?”" }).click();
    await chat.page.getByRole("button", { name: "Delete", exact: true }).click();
    await chat.page.getByRole("heading", { name: "What would you like to know?" }).waitFor();
    await chat.page.reload();
    await chat.chats.first().waitFor();
    expect(await chat.chats.allInnerTexts()).toEqual([QUESTION]);
  });

  test("one browser does not see another's", async () => {
    const mine = await open();
    await mine.ask(QUESTION);
    await mine.settledAnswers(1);
    const theirs = await open();
    await theirs.page.getByText("Your chats will be here.").waitFor();
    expect(await theirs.chats.count()).toBe(0);
  });

  test("the model picker shows what is served and stays with the chat", async () => {
    const chat = await open();
    const picker = chat.page.getByRole("combobox", { name: "Model" });
    const served = (await (await chat.context.request.get(`${url()}/v1/models`)).json()) as {
      data: { id: string }[];
    };
    await picker.getByText(served.data[0]!.id).waitFor({ state: "attached" });
    expect(await picker.locator("option").allInnerTexts()).toEqual(served.data.map(({ id }) => id));
    expect(await chat.page.locator("#model-note").textContent()).toMatch(/tiny/i);
    await chat.ask("Hello");
    await chat.settledAnswers(1);
    expect(await picker.isDisabled()).toBe(true);
    expect((await storedSession(chat)).model).toBe(await picker.inputValue());
  });
});

describe("trouble", () => {
  // Refused and failing requests are what these tests are about.
  afterEach(() => {
    for (const { failedRequests } of opened) failedRequests.splice(0);
  });

  test("no connection: nothing typed is lost, and one click sends it", async () => {
    const chat = await open();
    await chat.context.setOffline(true);
    await chat.notice.getByText("You are offline").waitFor();
    await chat.ask(QUESTION);
    await chat.notice.getByText("The server can’t be reached").waitFor();
    expect(await chat.prompt.inputValue()).toBe(QUESTION);
    await chat.context.setOffline(false);
    await chat.notice.getByRole("button", { name: "Try again" }).click();
    await chat.settledAnswers(1);
    expect(await chat.messages.count()).toBe(2);
    expect(await chat.prompt.inputValue()).toBe("");
    expect(await chat.notice.count()).toBe(0);
  });

  test("a message over the context gets the server's numbers and a way on", async () => {
    const chat = await open();
    const long = "context ".repeat(3000);
    await chat.ask(long);
    await chat.notice.getByText("This chat is full").waitFor();
    expect(await chat.notice.textContent()).toMatch(/context is \d+ tokens/);
    expect(await chat.prompt.inputValue()).toBe(long);
    await chat.ask("Hello");
    await chat.settledAnswers(1);
    expect(await chat.notice.count()).toBe(0);
  });

  test("a chat that answers elsewhere, and no socket to tell: the message waits in the box, the other answer is shown", async () => {
    const chat = await open();
    await chat.page.routeWebSocket(/\/ws$/, (socket) => socket.close());
    await chat.page.reload();
    await chat.ask("Hello");
    await chat.settledAnswers(1);
    const path = `${url()}/v1/sessions/${sessionId(chat.page)}`;
    const elsewhere = chat.context.request.post(`${path}/messages`, {
      data: { content: QUESTION, ...ENDLESS, stream: false },
    });
    await waitUntil(async () => ((await (await chat.context.request.get(path)).json()) as { busy: boolean }).busy);
    await chat.ask("Mine");
    await chat.notice.getByText("This chat is still answering").waitFor();
    expect(await chat.prompt.inputValue()).toBe("Mine");
    await chat.stop.click();
    await elsewhere;
    await chat.settledAnswers(2);
    await chat.prompt.press("Enter");
    await chat.settledAnswers(3);
  });

  test("a chat that was deleted elsewhere: its question can go on in a new one", async () => {
    const chat = await open();
    await chat.ask("Hello");
    await chat.settledAnswers(1);
    await chat.context.request.delete(`${url()}/v1/sessions/${sessionId(chat.page)}`);
    await chat.ask(QUESTION);
    await chat.notice.getByText("This chat is gone").waitFor();
    await chat.notice.getByRole("button", { name: "Ask in a new chat" }).click();
    await chat.settledAnswers(1);
    expect(await chat.messages.first().textContent()).toContain(QUESTION);
  });

  test("the server restarts in mid-answer: the answer goes on to its end, word for word, and so does the chat", {
    timeout: RESTART_TIMEOUT_MS,
  }, async () => {
    const undisturbed = await open(ENDLESS);
    await undisturbed.ask(QUESTION);
    const [whole] = await undisturbed.settledAnswers(1);
    const chat = await open(ENDLESS);
    const lengths = await watchGrowth(chat.page);
    await chat.ask(QUESTION);
    await waitUntil(async () => (await chat.answers.last().textContent())!.length > 200);
    const stopped = restart();
    await chat.notice.getByText("The server can’t be reached").waitFor();
    expect((await chat.answers.last().locator(".markdown").textContent())!.length).toBeLessThan(whole!.length);
    await stopped;
    expect(await chat.settledAnswers(1)).toEqual([whole]);
    const steps = await lengths();
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    expect(await chat.answers.first().locator(".note").textContent()).toBe("Cut at the length limit");
    expect(await chat.notice.count()).toBe(0);
    expect((await storedSession(chat)).messages).toMatchObject([{ role: "user" }, { finish_reason: "length" }]);
    await chat.page.getByRole("button", { name: "New chat" }).click();
    await chat.ask("Go on");
    await chat.answerBegins();
    await chat.page.keyboard.press("Escape");
    await chat.settledAnswers(1);
  });

  test("an address of no chat", async () => {
    const chat = await open(GREEDY, {}, `#/c/${"x".repeat(32)}`);
    await chat.notice.getByText("This chat is gone").waitFor();
    await chat.notice.getByRole("button", { name: "New chat" }).click();
    await chat.ask("Hello");
    await chat.settledAnswers(1);
  });
});
