/** What the tests of the page share: one real server and one browser for a file, and pages that must not complain. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { amendMessages, type ChatPage, openChat } from "../support/chat-page.ts";
import { type RunningServer, startServer } from "./server.ts";

/** Fields for every message that a page sends. */
export const GREEDY = { temperature: 0 };

/** Runs to the end of the context, so that there is time to look at the answer, stop it or leave it. */
export const ENDLESS = { temperature: 0, ignore_eos: true };

export interface ChatPages {
  /** Of the server, without a slash at the end. */
  url(): string;
  /** @param path what follows the origin's slash, such as a hash */
  open(fields?: Record<string, unknown>, options?: BrowserContextOptions, path?: string): Promise<ChatPage>;
  /** Stops the server and starts it again at the same address, with the same state on disk. */
  restart(): Promise<void>;
  /** The pages of the running test. */
  opened: ChatPage[];
}

/** Registers the hooks of a test file. After each test its console and its Content-Security-Policy must be silent. */
export function useChatPages(): ChatPages {
  let server: RunningServer;
  let browser: Browser;
  let persistTo: string;
  const opened: ChatPage[] = [];

  beforeAll(async () => {
    persistTo = await mkdtemp(join(tmpdir(), "runnel-page-"));
    [server, browser] = await Promise.all([startServer({ persistTo }), launchBrowser()]);
  });

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    await rm(persistTo, { recursive: true, force: true });
  });

  afterEach(async () => {
    const complaints = await Promise.all(opened.map((chat) => chat.complaints()));
    await Promise.all(opened.splice(0).map((chat) => chat.context.close()));
    expect(complaints.flat()).toEqual([]);
  });

  return {
    url: () => server.url,
    opened,
    restart: async () => {
      await server.stop();
      server = await startServer({ persistTo, port: server.port });
    },
    open: async (fields = GREEDY, options = {}, path = "") => {
      const chat = await openChat(browser, `${server.url}/${path}`, options, (page) => amendMessages(page, fields));
      opened.push(chat);
      return chat;
    },
  };
}
