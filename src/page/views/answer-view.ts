/** One answer: plain text with its numbers and a copy button under it. */
import { labelMetrics, metricsOf } from "../chat/metrics.ts";
import type { Message } from "../state/state.ts";
import { button, el, icon, setAttribute } from "./dom.ts";
import { MarkdownView } from "./markdown-view.ts";

const COPIED_MS = 1600;

/** What stands beside the numbers when an answer is not simply complete. */
const NOTES: Partial<Record<Message["status"], string>> = {
  stopped: "Stopped",
  length: "Cut at the length limit",
};

export class AnswerView {
  readonly element: HTMLLIElement;
  readonly #markdown = new MarkdownView();
  readonly #details = el("div", { class: "details" });
  readonly #copy: HTMLButtonElement;
  #drawn: Message | null = null;

  constructor() {
    this.#copy = button(
      { class: "icon-button small", "aria-label": "Copy the answer" },
      () => this.#copyText(),
      icon("copy"),
    );
    const waiting = el(
      "p",
      { class: "waiting" },
      el("span", { class: "waiting-words" }, "Waiting for the first token…"),
    );
    this.element = el(
      "li",
      { class: "message assistant" },
      el("span", { class: "visually-hidden" }, "Answer:"),
      this.#markdown.element,
      waiting,
      el("div", { class: "under" }, this.#copy, this.#details),
    );
  }

  render(message: Message): void {
    if (message === this.#drawn) return;
    this.#drawn = message;
    this.#markdown.render(message.text);
    setAttribute(this.element, "data-status", message.status);
    setAttribute(this.element, "data-empty", message.text === "");
    setAttribute(this.element, "aria-busy", message.status === "pending" ? "true" : null);
    this.#renderDetails(message);
  }

  #renderDetails(message: Message): void {
    const metrics = message.timing && metricsOf(message.timing);
    const labels = metrics ? labelMetrics(metrics) : [];
    const note = NOTES[message.status];
    const parts = [
      ...(note === undefined ? [] : [el("span", { class: "note" }, note)]),
      ...labels.map(({ text, meaning }) => el("span", { class: "metric", title: meaning }, text)),
    ];
    const isUnchanged = parts.map((part) => part.textContent).join() === this.#texts();
    if (!isUnchanged) this.#details.replaceChildren(...parts);
  }

  #texts(): string {
    return [...this.#details.children].map((part) => part.textContent).join();
  }

  async #copyText(): Promise<void> {
    const isCopied = await navigator.clipboard.writeText(this.#drawn?.text ?? "").then(
      () => true,
      () => false,
    );
    this.#copy.replaceChildren(icon(isCopied ? "check" : "close"));
    this.#copy.setAttribute("aria-label", isCopied ? "Copied" : "Could not copy");
    setTimeout(() => {
      this.#copy.replaceChildren(icon("copy"));
      this.#copy.setAttribute("aria-label", "Copy the answer");
    }, COPIED_MS);
  }
}
