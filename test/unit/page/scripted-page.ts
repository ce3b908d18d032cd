/** The controller over a scripted server, with a store whose changes are seen at once; each test gets a new one. */
import { beforeEach } from "vitest";
import { ChatController } from "../../../src/page/chat/controller.ts";
import { type KeyValueStore, Preferences } from "../../../src/page/chat/preferences.ts";
import { TimingMemory } from "../../../src/page/chat/timing-memory.ts";
import { currentConversation, initialState } from "../../../src/page/state/state.ts";
import { Store } from "../../../src/page/state/store.ts";
import { ScriptedClient } from "./scripted-client.ts";

export let client: ScriptedClient;
/** What the browser keeps. */
export let values: Map<string, string>;
export let page: ReturnType<typeof openPage>;

/** Registers the hook that gives each test its server and its page. */
export function usePage(): void {
  beforeEach(async () => {
    client = new ScriptedClient();
    values = new Map();
    page = openPage();
    await page.controller.refresh();
  });
}

/** The reader reloads the page. */
export function reopen(): void {
  page = openPage();
}

/** Sleeps end when the test says so: nothing here waits for a clock. */
export function openPage(schedule = (draw: () => void) => draw()) {
  const storage: KeyValueStore = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
  const preferences = new Preferences(storage);
  const store = new Store(initialState(preferences.model, true), schedule);
  const sleepers: (() => void)[] = [];
  let nowMs = 0;
  const controller = new ChatController({
    client,
    store,
    preferences,
    timings: new TimingMemory(storage),
    nowMs: () => (nowMs += 100),
    sleep: () => new Promise((resolve) => sleepers.push(resolve)),
  });
  const wake = () => {
    for (const resolve of sleepers.splice(0)) resolve();
    return settle();
  };
  return { store, controller, wake, current: () => currentConversation(store.state) };
}

/** Lets every promise that can go on go on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** "user: Hi", "assistant: Hel… (pending)". */
export function transcript(of = page): string[] {
  return of
    .current()
    .messages.map(({ role, text, status }) => `${role}: ${text}${status === "done" ? "" : ` (${status})`}`);
}

export async function send(text: string): Promise<void> {
  void page.controller.send(text);
  await settle();
}
