/**
 * The chat page without a mouse, without a screen and on a small one: keyboard only, the accessibility tree, what is
 * spoken, and a phone of 320 pixels.
 */
import type { BrowserContextOptions } from "playwright-core";
import { describe, expect, test } from "vitest";
import { ENDLESS, GREEDY, useChatPages } from "./chat-pages.ts";

const QUESTION = "What is a KV cache?";
const PHONE: BrowserContextOptions = { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true };

const { open } = useChatPages();

const FOCUSED_NAME = `
  document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent.trim()
`;

describe("keyboard and screen reader", () => {
  test("everything by keyboard", async () => {
    const chat = await open(ENDLESS);
    const { keyboard } = chat.page;
    const order: string[] = [];
    while (order.at(-1) !== "Skip to the message box" && order.length < 20) {
      await keyboard.press("Shift+Tab");
      order.push(await chat.page.evaluate(FOCUSED_NAME));
    }
    expect(order.toReversed()).toEqual([
      "Skip to the message box",
      "New chat",
      "Dark theme",
      "What is a KV cache?",
      "Why does paged attention save memory?",
      "Tell me a story about a red dragon",
      "What are you?",
    ]);
    await keyboard.press("Enter");
    await keyboard.type("What is");
    await keyboard.press("Shift+Enter");
    await keyboard.type("a KV cache?");
    expect(await chat.prompt.inputValue()).toBe("What is\na KV cache?");
    await keyboard.press("Enter");
    await chat.answerBegins();
    await keyboard.press("Escape");
    await chat.settledAnswers(1);
    expect(await chat.page.evaluate("document.activeElement.id")).toBe("prompt");

    await chat.chats.first().focus();
    await keyboard.press("Tab");
    await keyboard.press("Enter");
    await keyboard.press("Escape");
    expect(await chat.page.evaluate("document.activeElement.getAttribute('aria-label')")).toMatch(/^Delete “/);
    await keyboard.press("Enter");
    await keyboard.press("Enter");
    await chat.page.getByText("Your chats will be here.").waitFor();
    expect(await chat.page.evaluate("document.activeElement.id")).toBe("new-chat");
  });

  test("landmarks and names; every control has one", async () => {
    const chat = await open();
    await chat.ask(QUESTION);
    await chat.settledAnswers(1);
    await chat.chats.first().waitFor();
    const tree = await chat.page.locator("body").ariaSnapshot();
    for (const part of [
      '- navigation "Chats"',
      "- banner",
      '- combobox "Model"',
      '- button "Dark theme"',
      "- main",
      `- heading "${QUESTION}" [level=1]`,
      '- list "Conversation"',
      '- button "Copy the answer"',
      '- form "Message"',
      '- textbox "Your message"',
      '- button "Send"',
      '- log "Answers"',
    ]) {
      expect(tree).toContain(part);
    }
    expect(tree).not.toMatch(/- (button|link|textbox|combobox)(:| \[|$)/m);
  });

  test("answers are spoken as whole sentences, once", async () => {
    const chat = await open();
    await chat.ask(QUESTION);
    const [answer] = await chat.settledAnswers(1);
    const spoken = await chat.page.locator("#announcer p").allTextContents();
    const plain = (text: string) => text.replace(/\s+/g, " ").trim();
    expect(plain(spoken.join(" "))).toBe(plain(answer!));
    expect(spoken.slice(0, -1).every((sentence) => /[.!?:][)"'”’]*$|\S$/.test(sentence))).toBe(true);
    expect(spoken.length).toBeLessThanOrEqual(answer!.split(/[.!?]/).length + answer!.split("\n").length);
  });
});

describe("on a phone", () => {
  test("nothing is wider than 320 pixels, and the list is a drawer", async () => {
    const chat = await open(GREEDY, PHONE);
    const overflowPx = () =>
      chat.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    expect(await overflowPx()).toBe(0);
    await chat.ask(`Unbroken${"x".repeat(300)}`);
    await chat.settledAnswers(1);
    expect(await overflowPx()).toBe(0);

    await chat.page.getByRole("button", { name: "Open the list of chats" }).tap();
    await chat.chats.first().waitFor();
    expect(await chat.page.locator("#column").getAttribute("inert")).not.toBeNull();
    await chat.page.keyboard.press("Escape");
    await chat.chats.first().waitFor({ state: "hidden" });
    expect(await chat.page.evaluate("document.activeElement.id")).toBe("open-sidebar");
    await chat.page.getByRole("banner").getByRole("button", { name: "New chat" }).tap();
    await chat.page.getByRole("button", { name: "What are you?" }).tap();
    await chat.settledAnswers(1);
  });

  test("fingers find every control: at least 24 pixels, most 44", async () => {
    const chat = await open(GREEDY, PHONE);
    await chat.ask("Hello");
    await chat.settledAnswers(1);
    const sizes = await chat.page.evaluate<number[]>(`
      [...document.querySelectorAll("#column button")].filter((b) => b.checkVisibility())
        .map((b) => Math.min(b.getBoundingClientRect().width, b.getBoundingClientRect().height))
    `);
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(44);
  });
});
