/** What is typed and not yet taken by the server, kept over a reload. */
import { type Conversation, type State, untakenText } from "../state/state.ts";
import type { Preferences } from "./preferences.ts";

/** Drafts of new chats share one slot: their keys do not outlive the page. */
const NEW_CHAT_SLOT = "new";

export class Drafts {
  readonly #preferences: Preferences;

  constructor(preferences: Preferences) {
    this.#preferences = preferences;
  }

  save(state: State, key: string): void {
    const conversation = state.conversations[key];
    if (conversation !== undefined) this.#preferences.saveDraft(slotOf(conversation), untakenText(conversation));
  }

  /** What was kept of a conversation that has nothing in its box; "" = nothing. */
  recall(conversation: Conversation): string {
    return conversation.draft === "" ? this.#preferences.draft(slotOf(conversation)) : "";
  }

  /** @param id null = of new chats */
  forget(id: string | null): void {
    this.#preferences.saveDraft(id ?? NEW_CHAT_SLOT, "");
  }
}

function slotOf({ id }: Conversation): string {
  return id ?? NEW_CHAT_SLOT;
}
