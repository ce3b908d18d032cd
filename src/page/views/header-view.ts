/** Model picker, what the model says of itself, theme. */
import { currentConversation, modelOf, type State } from "../state/state.ts";
import { byId, el, setText } from "./dom.ts";

export class HeaderView {
  readonly #picker = byId("model-picker", HTMLSelectElement);
  readonly #note = byId("model-note", HTMLParagraphElement);
  #options = "";

  constructor(onPick: (model: string) => void) {
    this.#picker.addEventListener("change", () => onPick(this.#picker.value));
  }

  render(state: State): void {
    const conversation = currentConversation(state);
    const model = modelOf(state, conversation);
    const served = state.models.map(({ id }) => id);
    // A chat may use a model that is served no longer.
    const ids = model === null || served.includes(model) ? served : [model, ...served];
    this.#renderOptions(ids.length > 0 ? ids : ["No model yet"]);
    if (model !== null && this.#picker.value !== model) this.#picker.value = model;

    const isSettled = conversation.messages.length > 0 || conversation.id !== null;
    this.#picker.disabled = isSettled || served.length < 2;
    this.#picker.title = isSettled ? "A chat keeps its model. Start a new chat to use another one." : "";
    const description = state.models.find(({ id }) => id === model)?.description ?? "";
    setText(this.#note, description);
    this.#note.title = description;
  }

  #renderOptions(ids: string[]): void {
    if (ids.join("\n") === this.#options) return;
    this.#options = ids.join("\n");
    this.#picker.replaceChildren(...ids.map((id) => el("option", { value: id }, id)));
  }
}
