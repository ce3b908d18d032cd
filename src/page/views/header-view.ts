/** Model picker, what the model says of itself, theme. */
import { groupModels, type ModelGroup } from "../chat/model-groups.ts";
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
    this.#renderOptions(ids.length > 0 ? ids : ["No model yet"], groupModels(state.models));
    if (model !== null && this.#picker.value !== model) this.#picker.value = model;

    const isSettled = conversation.messages.length > 0 || conversation.id !== null;
    this.#picker.disabled = isSettled || served.length < 2;
    this.#picker.title = isSettled ? "A chat keeps its model. Start a new chat to use another one." : "";
    const description = state.models.find(({ id }) => id === model)?.description ?? "";
    setText(this.#note, description);
    this.#note.title = description;
  }

  /** @param groups of those that are served; empty = all in one list */
  #renderOptions(ids: string[], groups: ModelGroup[]): void {
    const look = JSON.stringify([ids, groups]);
    if (look === this.#options) return;
    this.#options = look;
    const option = (id: string) => el("option", { value: id }, id);
    const grouped = new Set(groups.flatMap((group) => group.ids));
    this.#picker.replaceChildren(
      ...ids.filter((id) => !grouped.has(id)).map(option),
      ...groups.map((group) => el("optgroup", { label: group.label }, ...group.ids.map(option))),
    );
  }
}
