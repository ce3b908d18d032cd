/**
 * Speaks answers to a screen reader, sentence by sentence, through a live region that is not the visible text: the
 * visible text changes with every token, which no reader can follow. Only what streams here is spoken, history is not.
 */
import { SentenceBuffer } from "../chat/sentences.ts";
import { currentConversation, type Message, type State } from "../state/state.ts";
import { byId, el } from "./dom.ts";

/** The region need not keep what was spoken long ago. */
const LINES_MAX = 40;

export class Announcer {
  readonly #region = byId("announcer", HTMLElement);
  #buffer = new SentenceBuffer();
  #key: string | null = null;
  #numSpoken = 0;

  render(state: State): void {
    const conversation = currentConversation(state);
    const answer = conversation.messages.at(-1);
    if (answer === undefined || answer.role !== "assistant") return;
    if (answer.key !== this.#key) {
      if (answer.status !== "pending") return;
      this.#key = answer.key;
      this.#numSpoken = 0;
      this.#buffer = new SentenceBuffer();
    }
    this.#speakNew(answer);
  }

  #speakNew(answer: Message): void {
    const text = answer.text.slice(this.#numSpoken);
    this.#numSpoken = answer.text.length;
    const sentences = this.#buffer.push(text);
    if (answer.status !== "pending") {
      sentences.push(...this.#buffer.flush(), ...(answer.status === "stopped" ? ["Stopped."] : []));
      this.#key = null;
    }
    this.#say(sentences);
  }

  #say(sentences: string[]): void {
    this.#region.append(...sentences.map((sentence) => el("p", {}, sentence)));
    while (this.#region.childElementCount > LINES_MAX) this.#region.firstElementChild!.remove();
  }
}
