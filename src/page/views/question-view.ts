/**
 * One message of the reader's: a bubble with an edit button, or the box in which it is being edited. Enter sends what is
 * in the box, Escape leaves the message as it was; the focus goes where the reader's attention is.
 */
import type { Message } from "../state/state.ts";
import { button, el, icon, setText } from "./dom.ts";

export class QuestionView {
  readonly element = el("li", { class: "message user" });
  readonly #onEdit: (text: string) => boolean;
  readonly #speaker = el("span", { class: "visually-hidden" }, "You said:");
  readonly #bubble = el("p", { class: "bubble" });
  readonly #edit = button(
    { class: "icon-button small edit", "aria-label": "Edit your message" },
    () => this.#open(),
    icon("edit"),
  );

  /** @param onEdit false = not now: the words stay in the box */
  constructor(onEdit: (text: string) => boolean) {
    this.#onEdit = onEdit;
    this.#close();
  }

  render(message: Message): void {
    setText(this.#bubble, message.text);
  }

  #close(): void {
    this.element.replaceChildren(this.#speaker, this.#edit, this.#bubble);
  }

  #cancel(): void {
    this.#close();
    this.#edit.focus();
  }

  #open(): void {
    const box = el("textarea", { class: "edit-box", rows: 1, "aria-label": "Edit your message", enterkeyhint: "send" });
    const submit = el("button", { type: "submit", class: "text-button primary" }, "Send");
    const form = el(
      "form",
      { class: "editor", "aria-label": "Edit" },
      box,
      el("p", { class: "editor-note" }, "What came after it is replaced by a new answer."),
      button({ class: "text-button" }, () => this.#cancel(), "Cancel"),
      submit,
    );
    box.value = this.#bubble.textContent ?? "";
    box.addEventListener("input", () => {
      submit.disabled = box.value.trim() === "";
      grow(box);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        // It must not stop an answer, too.
        event.preventDefault();
        this.#cancel();
      }
      // While an input method composes, Enter chooses a candidate.
      if (event.target !== box || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit(submit);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (box.value.trim() !== "" && this.#onEdit(box.value)) this.#close();
    });
    this.element.replaceChildren(this.#speaker, form);
    grow(box);
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }
}

function grow(box: HTMLTextAreaElement): void {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
