/** Two tabs of one chat in a real Chromium, and other words for a message: by mouse, by keyboard, by screen reader. */
import { afterEach, describe, expect, test } from "vitest";
import { type ChatPage, waitUntil } from "../support/chat-page.ts";
import { ENDLESS, GREEDY, useChatPages } from "./chat-pages.ts";

const QUESTION = "What is a KV cache?";

const { open, opened, url } = useChatPages();

const sessionId = (chat: ChatPage) => /#\/c\/(.+)$/.exec(chat.page.url())![1]!;
const texts = (chat: ChatPage) => chat.page.locator("#messages > li").locator(".bubble, .markdown").allInnerTexts();
const editButton = (chat: ChatPage, n = 0) => chat.page.getByRole("button", { name: "Edit your message" }).nth(n);

/** Another tab on the same chat; whoever has the address may read it. */
async function secondTab(first: ChatPage, fields: Record<string, unknown>): Promise<ChatPage> {
  const tab = await open(fields, {}, `#/c/${sessionId(first)}`);
  await tab.settledAnswers(1);
  return tab;
}

describe("two tabs", () => {
  test("show the same turns as they come, whichever of them begins or stops one", async () => {
    const mine = await open(GREEDY);
    await mine.ask("Hello");
    await mine.settledAnswers(1);
    const theirs = await secondTab(mine, ENDLESS);
    const streams: string[] = [];
    mine.page.on("request", (request) => streams.push(request.url()));

    await theirs.ask(QUESTION);
    await mine.page.locator(".bubble", { hasText: QUESTION }).waitFor();
    // Text of an answer that the other tab asked for, while it grows; and this tab ends it.
    await mine.page.locator("#messages[aria-busy] > .assistant[data-status=pending]:not([data-empty])").waitFor();
    await mine.page.keyboard.press("Escape");
    const [answers, others] = await Promise.all([mine.settledAnswers(2), theirs.settledAnswers(2)]);
    expect(answers).toEqual(others);
    expect(await mine.answers.last().locator(".note").textContent()).toBe("Stopped");
    expect(await texts(mine)).toEqual(await texts(theirs));
    // It came over the socket.
    expect(streams.filter((address) => address.endsWith("/stream"))).toEqual([]);

    await mine.ask("And why?");
    await theirs.settledAnswers(3);
    await mine.settledAnswers(3);
    expect(await texts(theirs)).toEqual(await texts(mine));
  });

  test("follow an edit", async () => {
    const mine = await open(GREEDY);
    await mine.ask("Hello");
    await mine.settledAnswers(1);
    await mine.ask(QUESTION);
    await mine.settledAnswers(2);
    const theirs = await secondTab(mine, GREEDY);
    await editButton(mine).click();
    await mine.page.getByRole("textbox", { name: "Edit your message" }).fill("What are you?");
    await mine.page.getByRole("form", { name: "Edit" }).getByRole("button", { name: "Send" }).click();
    await waitUntil(async () => (await texts(theirs)).length === 2 && (await texts(theirs))[1] !== "");
    await Promise.all([mine.settledAnswers(1), theirs.settledAnswers(1)]);
    expect(await texts(theirs)).toEqual(await texts(mine));
    expect((await texts(mine))[0]).toBe("What are you?");
  });

  describe("without sockets", () => {
    // Sockets that are refused are what this test is about.
    afterEach(() => {
      for (const { failedRequests } of opened) failedRequests.splice(0);
    });

    test("work alone as they did, and show news when the reader comes back", async () => {
      const mine = await open(GREEDY);
      await mine.page.routeWebSocket(/\/ws$/, (socket) => socket.close());
      await mine.page.reload();
      await mine.ask("Hello");
      await mine.settledAnswers(1);
      const theirs = await secondTab(mine, GREEDY);
      await theirs.ask(QUESTION);
      await theirs.settledAnswers(2);
      expect(await mine.answers.count()).toBe(1);
      await mine.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
      expect(await mine.settledAnswers(2)).toEqual(await theirs.settledAnswers(2));
    });
  });
});

describe("an edit", () => {
  test("replaces the message and its answer, by keyboard alone", async () => {
    const chat = await open(GREEDY);
    await chat.ask("Hello");
    await chat.settledAnswers(1);
    await chat.ask(QUESTION);
    await chat.settledAnswers(2);
    const before = await texts(chat);
    const { keyboard } = chat.page;
    const active = (what: string) => chat.page.evaluate(`document.activeElement.${what}`);

    await editButton(chat, 1).focus();
    await keyboard.press("Enter");
    expect(await active("getAttribute('aria-label')")).toBe("Edit your message");
    expect(await active("value")).toBe(QUESTION);
    await keyboard.type("!");
    await keyboard.press("Escape");
    expect(await active("getAttribute('aria-label')")).toBe("Edit your message");
    expect(await texts(chat)).toEqual(before);

    await keyboard.press("Enter");
    await keyboard.press("ControlOrMeta+a");
    await keyboard.type("What are");
    await keyboard.press("Shift+Enter");
    await keyboard.type("you?");
    await keyboard.press("Enter");
    expect(await active("id")).toBe("prompt");
    // Until then the answer to what it was is there, and settled.
    await expect.poll(async () => (await texts(chat))[2]).toBe("What are\nyou?");
    await chat.settledAnswers(2);
    const after = await texts(chat);
    expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
    expect(after[2]).toBe("What are\nyou?");
    expect(after[3]).not.toBe(before[3]);
    const stored = await chat.context.request.get(`${url()}/v1/sessions/${sessionId(chat)}`);
    const { messages } = (await stored.json()) as { messages: { content: string }[] };
    expect(messages.map(({ content }) => content)).toEqual([
      before[0],
      before[1],
      "What are\nyou?",
      expect.any(String),
    ]);
    await chat.page.reload();
    await chat.settledAnswers(2);
    expect(await texts(chat)).toEqual(after);
  });

  test("has names for a screen reader, and is not offered while an answer is made", async () => {
    const chat = await open(ENDLESS);
    await chat.ask(QUESTION);
    await chat.answerBegins();
    expect(await editButton(chat).isVisible()).toBe(false);
    await chat.page.keyboard.press("Escape");
    await chat.settledAnswers(1);
    expect(await chat.page.locator("#messages").ariaSnapshot()).toContain('- button "Edit your message"');
    await editButton(chat).click();
    const tree = await chat.page.locator("#messages").ariaSnapshot();
    for (const part of ['- form "Edit"', '- textbox "Edit your message"', '- button "Cancel"', '- button "Send"']) {
      expect(tree).toContain(part);
    }
    const box = chat.page.getByRole("textbox", { name: "Edit your message" });
    await box.fill(" ");
    expect(await chat.page.getByRole("form", { name: "Edit" }).getByRole("button", { name: "Send" }).isDisabled()).toBe(
      true,
    );
    await chat.page.getByRole("button", { name: "Cancel" }).click();
    expect(await texts(chat)).toHaveLength(2);
  });
});
