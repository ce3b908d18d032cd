/**
 * Where a reader enters the API key. It stays out of the way where the server needs none: the button in the bar appears
 * with the first refusal, or while a key is kept.
 */
import { usableKey } from "../net/access.ts";
import { byId, setText } from "./dom.ts";

export interface KeyActions {
  /** The key that is kept; null = none. */
  current(): string | null;
  /** @param key null = forget it */
  save(key: string | null): void;
}

export class KeyView {
  readonly #actions: KeyActions;
  readonly #open = byId("key", HTMLButtonElement);
  readonly #dialog = byId("key-dialog", HTMLDialogElement);
  readonly #form = byId("key-form", HTMLFormElement);
  readonly #input = byId("key-input", HTMLInputElement);
  readonly #hint = byId("key-hint", HTMLParagraphElement);
  readonly #forget = byId("key-forget", HTMLButtonElement);
  #isDismissed = false;

  constructor(actions: KeyActions) {
    this.#actions = actions;
    this.#open.hidden = actions.current() === null;
    this.#open.addEventListener("click", () => this.#show("The server’s operator gives it out."));
    byId("key-cancel", HTMLButtonElement).addEventListener("click", () => {
      this.#isDismissed = true;
      this.#dialog.close();
    });
    this.#forget.addEventListener("click", () => this.#finish(null));
    // By Escape.
    this.#dialog.addEventListener("cancel", () => {
      this.#isDismissed = true;
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = usableKey(this.#input.value);
      if (key === null) setText(this.#hint, "This is no key: it must be letters and digits, without spaces.");
      else this.#finish(key);
    });
  }

  /** The server refused the page for want of a key. Asks once; whoever closed the dialog has the button. */
  ask(): void {
    this.#open.hidden = false;
    if (this.#dialog.open || this.#isDismissed) return;
    const hasKey = this.#actions.current() !== null;
    this.#show(hasKey ? "The server does not take the key that you gave." : "This server needs an API key.");
  }

  #show(hint: string): void {
    setText(this.#hint, hint);
    this.#input.value = "";
    this.#forget.hidden = this.#actions.current() === null;
    this.#dialog.showModal();
    this.#input.focus();
  }

  #finish(key: string | null): void {
    this.#actions.save(key);
    this.#open.hidden = key === null;
    this.#dialog.close();
    // Another refusal is news.
    this.#isDismissed = false;
  }
}
