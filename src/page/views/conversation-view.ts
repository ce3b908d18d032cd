/** The messages of the conversation on screen, or the welcome of an empty one. */
import { type Conversation, currentConversation, isAnswering, type Message, type State } from "../state/state.ts";
import { AnswerView } from "./answer-view.ts";
import { button, byId, el, setAttribute, setText } from "./dom.ts";
import { QuestionView } from "./question-view.ts";
import { ScrollPin } from "./scroll-pin.ts";

/** What the demo model knows best: the ideas behind its own serving, short stories, and what it is. */
const SUGGESTIONS = [
  "What is a KV cache?",
  "Why does paged attention save memory?",
  "Tell me a story about a red dragon",
  "What are you?",
];

export interface ConversationActions {
  /** A suggestion was chosen. */
  suggest(text: string): void;
  /** Other words for the message with this key; false where it cannot be changed now. */
  edit(key: string, text: string): boolean;
}

export class ConversationView {
  readonly #actions: ConversationActions;
  readonly #list = byId("messages", HTMLOListElement);
  readonly #title = byId("chat-title", HTMLHeadingElement);
  readonly #welcome = byId("welcome", HTMLElement);
  readonly #pin = new ScrollPin(byId("scroller", HTMLElement), byId("jump", HTMLButtonElement));
  #views = new Map<string, AnswerView | QuestionView>();
  #shown: Conversation | null = null;

  constructor(actions: ConversationActions) {
    this.#actions = actions;
    byId("suggestions", HTMLUListElement).append(
      ...SUGGESTIONS.map((text) =>
        el(
          "li",
          {},
          button({ class: "suggestion" }, () => actions.suggest(text), text),
        ),
      ),
    );
  }

  render(state: State): void {
    const conversation = currentConversation(state);
    if (conversation === this.#shown) return;
    const isOther = !isSameChat(this.#shown, conversation);
    const isNewTurn = !isOther && conversation.phase === "sending" && this.#shown?.phase !== "sending";
    this.#shown = conversation;

    setText(this.#title, conversation.title || "New chat");
    document.title = conversation.title ? `${conversation.title} · runnel` : "runnel";
    this.#welcome.hidden = conversation.messages.length > 0 || conversation.id !== null;
    setAttribute(
      this.#list,
      "aria-busy",
      isAnswering(conversation) || conversation.phase === "loading" ? "true" : null,
    );
    setAttribute(this.#list, "data-phase", conversation.phase);
    this.#renderMessages(conversation);

    if (isOther || isNewTurn) this.#pin.pin();
    else this.#pin.afterDraw();
  }

  #renderMessages(conversation: Conversation): void {
    const views = new Map<string, AnswerView | QuestionView>();
    for (const message of conversation.messages) {
      const view = this.#views.get(message.key) ?? this.#viewOf(message);
      view.render(message);
      views.set(message.key, view);
    }
    for (const [key, view] of this.#views) {
      if (!views.has(key)) view.element.remove();
    }
    const elements = [...views.values()].map((view) => view.element);
    elements.forEach((element, i) => {
      if (this.#list.children[i] !== element) this.#list.insertBefore(element, this.#list.children[i] ?? null);
    });
    this.#views = views;
  }

  #viewOf({ key, role }: Message): AnswerView | QuestionView {
    return role === "user" ? new QuestionView((text) => this.#actions.edit(key, text)) : new AnswerView();
  }
}

/** A draft that became a session is still the same chat: its first message is the same. */
function isSameChat(a: Conversation | null, b: Conversation): boolean {
  if (a === null) return false;
  return a.key === b.key || (a.id === null && a.messages[0] !== undefined && a.messages[0].key === b.messages[0]?.key);
}
