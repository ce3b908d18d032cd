/** Puts the page together: client and controller, store and views, address and keyboard. */
import { ChatController } from "./chat/controller.ts";
import { Preferences } from "./chat/preferences.ts";
import { formatHash, parseHash } from "./chat/router.ts";
import { TimingMemory } from "./chat/timing-memory.ts";
import { keyedFetch, socketProtocols } from "./net/access.ts";
import { createClient } from "./net/client.ts";
import { currentConversation, initialState, isAnswering, type State } from "./state/state.ts";
import { Store } from "./state/store.ts";
import { Announcer } from "./views/announcer.ts";
import { ComposerView } from "./views/composer-view.ts";
import { ConversationView } from "./views/conversation-view.ts";
import { byId } from "./views/dom.ts";
import { Drawer } from "./views/drawer.ts";
import { HeaderView } from "./views/header-view.ts";
import { KeyView } from "./views/key-view.ts";
import { NoticesView } from "./views/notices-view.ts";
import { SidebarView } from "./views/sidebar-view.ts";
import { attachTheme } from "./views/theme.ts";

const storage = storageIfAllowed(() => window.localStorage);
const preferences = new Preferences(storage);
const store = new Store(initialState(preferences.model, navigator.onLine), (draw) => requestAnimationFrame(draw));
const controller = new ChatController({
  client: createClient(
    keyedFetch(
      fetch.bind(window),
      () => preferences.apiKey,
      () => keyView.ask(),
    ),
    (path) => new WebSocket(new URL(path, location.href.replace(/^http/, "ws")), socketProtocols(preferences.apiKey)),
  ),
  store,
  preferences,
  timings: new TimingMemory(storageIfAllowed(() => window.sessionStorage)),
  nowMs: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
});

const keyView = new KeyView({
  current: () => preferences.apiKey,
  save: (key) => {
    preferences.saveApiKey(key);
    onReturn();
  },
});
const drawer = new Drawer();
const composer = new ComposerView({
  edit: (key, text) => controller.edit(key, text),
  send: () => controller.send(),
  stop: () => controller.stop(),
});
const views = [
  composer,
  new ConversationView({
    suggest: (text) => {
      controller.send(text);
      composer.focusUnlessTouch();
    },
    edit: (key, text) => {
      const isTaken = controller.editMessage(key, text) !== null;
      if (isTaken) composer.focusUnlessTouch();
      return isTaken;
    },
  }),
  new SidebarView({ newChat: startNewChat, delete: (id) => controller.delete(id) }, Date.now),
  new HeaderView((model) => controller.pickModel(model)),
  new NoticesView({
    retry: () => controller.retry(),
    sendInNewChat: () => controller.sendInNewChat(),
    newChat: startNewChat,
  }),
  new Announcer(),
];

for (const view of views) store.subscribe((state) => view.render(state));
attachTheme(storage);
controller.newChat();
followAddress();
// Only now: the first state drawn is no chat's, and must not replace the address that the page was opened with.
store.subscribe(showAddress);
store.flush();
controller.refresh();
composer.focusUnlessTouch();

window.addEventListener("hashchange", followAddress);
window.addEventListener("online", () => onConnection(true));
window.addEventListener("offline", () => onConnection(false));
document.addEventListener("visibilitychange", onReturn);
document.addEventListener("keydown", onEscape);
byId("sidebar", HTMLElement).addEventListener("click", (event) => {
  if (event.target instanceof HTMLAnchorElement) drawer.close();
});
document.querySelector(".skip-link")?.addEventListener("click", (event) => {
  event.preventDefault();
  composer.focus();
});

function startNewChat(): void {
  drawer.close();
  controller.newChat();
  composer.focusUnlessTouch();
}

/** The address changed: by the reader, the history or a link. */
function followAddress(): void {
  const route = parseHash(location.hash);
  if (route === null || hashOf(store.state) === formatHash(route)) return;
  if (route.kind === "new") controller.newChat();
  else controller.open(route.id);
}

/** The state changed: a draft became a session, or its chat was deleted. */
function showAddress(state: State): void {
  const hash = hashOf(state);
  if (hash === (location.hash || "#/")) return;
  // A new chat that gets its address is the same page, and a deleted chat has none to go back to. Anything else is a
  // step that "back" should undo.
  const shown = parseHash(location.hash);
  const isDeleted = shown?.kind === "session" && state.conversations[shown.id] === undefined;
  if (shown?.kind === "new" || isDeleted) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
}

function hashOf(state: State): string {
  const { id } = currentConversation(state);
  return formatHash(id === null ? { kind: "new" } : { kind: "session", id });
}

function onConnection(isOnline: boolean): void {
  store.dispatch({ type: "onlineChanged", isOnline });
  if (isOnline) onReturn();
}

/** Another tab or device may have gone on meanwhile. */
function onReturn(): void {
  if (document.visibilityState !== "visible") return;
  controller.refresh();
  const conversation = currentConversation(store.state);
  if (conversation.id !== null && !isAnswering(conversation)) controller.reload(conversation.id);
}

function onEscape(event: KeyboardEvent): void {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  // In a dialog it closes the dialog.
  if (document.querySelector("dialog[open]") === null) controller.stop();
}

function storageIfAllowed(storageOf: () => Storage): Storage | null {
  try {
    return storageOf();
  } catch {
    return null;
  }
}
