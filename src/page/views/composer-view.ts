/** The message box: grows with its text, Enter sends, Shift+Enter breaks the line, Escape stops a running answer. */
import { type Conversation, currentConversation, isAnswering, type State } from "../state/state.ts";
import { byId } from "./dom.ts";

export interface ComposerActions {
  edit(key: string, text: string): void;
  send(): void;
  stop(): void;
}

export class ComposerView {
  readonly #prompt = byId("prompt", HTMLTextAreaElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #stop = byId("stop", HTMLButtonElement);
  readonly #actions: ComposerActions;
  #conversation: Conversation | null = null;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#prompt.addEventListener("input", () => {
      this.#grow();
      if (this.#conversation !== null) actions.edit(this.#conversation.key, this.#prompt.value);
    });
    this.#prompt.addEventListener("keydown", (event) => this.#onKey(event));
    this.#stop.addEventListener("click", () => this.#onStop());
  }

  focus(): void {
    this.#prompt.focus();
  }

  /** For gestures that are not about writing: on a phone the focus would open the keyboard over the page. */
  focusUnlessTouch(): void {
    if (matchMedia("(pointer: fine)").matches) this.focus();
  }

  render(state: State): void {
    const conversation = currentConversation(state);
    this.#conversation = conversation;
    if (this.#prompt.value !== conversation.draft) {
      this.#prompt.value = conversation.draft;
      this.#grow();
    }
    const isBusy = isAnswering(conversation);
    const hadFocus = document.activeElement === this.#stop || document.activeElement === this.#send;
    this.#send.hidden = isBusy;
    this.#stop.hidden = !isBusy;
    // A click on a button that then vanishes would drop the focus onto the page.
    if (hadFocus && document.activeElement === document.body) this.focusUnlessTouch();
    this.#send.disabled = conversation.draft.trim() === "" || conversation.phase === "loading";
    this.#stop.disabled = conversation.isStopping;
  }

  #submit(): void {
    if (this.#prompt.value.trim() !== "") this.#actions.send();
  }

  #onStop(): void {
    this.focusUnlessTouch();
    this.#actions.stop();
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes, Enter chooses a candidate.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#submit();
  }

  #grow(): void {
    this.#prompt.style.height = "auto";
    this.#prompt.style.height = `${this.#prompt.scrollHeight}px`;
  }
}
