/** What went wrong, above the message box, with the way out that helps. */
import type { Failure } from "../net/failure.ts";
import { type Conversation, currentConversation, type State } from "../state/state.ts";
import { button, byId, el } from "./dom.ts";

export interface NoticeActions {
  retry(): void;
  sendInNewChat(): void;
  newChat(): void;
}

interface Notice {
  title: string;
  detail: string;
  actions: { label: string; run: () => void }[];
}

export class NoticesView {
  readonly #root = byId("notices", HTMLDivElement);
  readonly #actions: NoticeActions;
  #drawn = "";

  constructor(actions: NoticeActions) {
    this.#actions = actions;
  }

  render(state: State): void {
    const notices = this.#notices(state);
    const look = JSON.stringify(notices);
    if (look === this.#drawn) return;
    this.#drawn = look;
    this.#root.replaceChildren(...notices.map(noticeNode));
  }

  #notices(state: State): Notice[] {
    const conversation = currentConversation(state);
    const notices: Notice[] = [];
    const reason = conversation.failure ?? state.failure;
    if (reason !== null) notices.push({ ...reason, actions: this.#waysOut(reason, conversation) });
    else if (!state.isOnline) {
      notices.push({ title: "You are offline", detail: "What you write stays here until you are back.", actions: [] });
    }
    return notices;
  }

  #waysOut(reason: Failure, conversation: Conversation): Notice["actions"] {
    const retry = { label: "Try again", run: this.#actions.retry };
    const moveOn = { label: "Ask in a new chat", run: this.#actions.sendInNewChat };
    const hasText = conversation.draft.trim() !== "";
    switch (reason.kind) {
      case "context":
      case "gone":
        return [hasText ? moveOn : { label: "New chat", run: this.#actions.newChat }];
      case "busy":
      case "refused":
        return [];
      default:
        // While the page itself keeps trying, a button would only add a second try.
        return conversation.phase === "following" ? [] : [retry];
    }
  }
}

function noticeNode({ title, detail, actions }: Notice): HTMLElement {
  return el(
    "div",
    { class: "notice", role: "alert" },
    el("p", {}, el("strong", {}, title), el("span", {}, detail)),
    ...actions.map(({ label, run }) => button({ class: "text-button" }, run, label)),
  );
}
