/**
 * The list of chats that the server keeps. Deleting asks once, in the row itself: the question is where the reader
 * looks, and nothing is lost to a slip. Rows keep their DOM while the list changes, so that the focus stays.
 */
import { formatHash } from "../chat/router.ts";
import { groupSessions } from "../chat/session-groups.ts";
import type { SessionSummary, State } from "../state/state.ts";
import { isAnswering } from "../state/state.ts";
import { button, byId, el, icon, setAttribute } from "./dom.ts";

export interface SidebarActions {
  newChat(): void;
  delete(id: string): void;
}

export class SidebarView {
  readonly #root = byId("sessions", HTMLDivElement);
  readonly #newChat = byId("new-chat", HTMLButtonElement);
  readonly #actions: SidebarActions;
  readonly #nowMs: () => number;
  /** The session whose row asks "Delete?"; null = none. */
  #confirming: string | null = null;
  #drawn = "";
  #state: State | null = null;

  constructor(actions: SidebarActions, nowMs: () => number) {
    this.#actions = actions;
    this.#nowMs = nowMs;
    this.#newChat.addEventListener("click", actions.newChat);
    byId("new-chat-top", HTMLButtonElement).addEventListener("click", actions.newChat);
    this.#root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#confirming === null) return;
      event.stopPropagation();
      this.#confirm(null);
    });
  }

  render(state: State): void {
    this.#state = state;
    const groups = groupSessions(state.sessions ?? [], this.#nowMs());
    // The list is short and changes rarely: drawn anew as a whole, but only when it looks different.
    const look = JSON.stringify([
      groups,
      state.currentKey,
      this.#confirming,
      this.#busyIds(state),
      state.sessions === null,
    ]);
    if (look === this.#drawn) return;
    this.#drawn = look;
    const focused = (document.activeElement as HTMLElement | null)?.dataset.focusKey;
    const nodes = groups.map(({ label, sessions }, i) =>
      el(
        "section",
        { "aria-labelledby": `sessions-${i}` },
        el("h2", { id: `sessions-${i}` }, label),
        el("ul", {}, ...sessions.map((session) => this.#row(session, state))),
      ),
    );
    const isEmpty = state.sessions !== null && groups.length === 0;
    this.#root.replaceChildren(
      ...nodes,
      ...(isEmpty ? [el("p", { class: "no-sessions" }, "Your chats will be here.")] : []),
    );
    if (focused) this.#root.querySelector<HTMLElement>(`[data-focus-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #busyIds(state: State): string[] {
    return Object.values(state.conversations)
      .filter(isAnswering)
      .map(({ key }) => key);
  }

  #row(session: SessionSummary, state: State): HTMLLIElement {
    const title = session.title || "New chat";
    if (this.#confirming === session.id) return this.#confirmRow(session, title);
    const conversation = state.conversations[session.id];
    const link = el(
      "a",
      { href: formatHash({ kind: "session", id: session.id }), title, "data-focus-key": session.id },
      title,
    );
    setAttribute(link, "aria-current", session.id === state.currentKey ? "page" : null);
    const isBusy = conversation !== undefined && isAnswering(conversation);
    return el(
      "li",
      { class: "session", "data-busy": isBusy },
      link,
      button(
        { class: "icon-button small", "aria-label": `Delete “${title}”`, "data-focus-key": `delete-${session.id}` },
        () => this.#confirm(session.id),
        icon("trash"),
      ),
    );
  }

  #confirmRow(session: SessionSummary, title: string): HTMLLIElement {
    const keep = () => this.#confirm(null);
    const remove = () => {
      this.#confirming = null;
      this.#newChat.focus();
      this.#actions.delete(session.id);
    };
    return el(
      "li",
      { class: "session confirming", role: "group", "aria-label": `Delete “${title}”?` },
      el("span", { class: "question" }, "Delete?"),
      button({ class: "text-button danger", "data-focus-key": `confirm-${session.id}` }, remove, "Delete"),
      button({ class: "text-button" }, keep, "Keep"),
    );
  }

  #confirm(id: string | null): void {
    const before = this.#confirming;
    this.#confirming = id;
    if (this.#state !== null) this.render(this.#state);
    const key = id === null ? `delete-${before}` : `confirm-${id}`;
    this.#root.querySelector<HTMLElement>(`[data-focus-key="${CSS.escape(key)}"]`)?.focus();
  }
}
