/**
 * On a narrow screen the sidebar is a drawer over the chat: closed it is out of reach for keyboard and screen reader
 * (`inert`), open it is the chat that is. On a wide screen both are always there.
 */
import { byId } from "./dom.ts";

/** Same as the breakpoint in styles.css. */
const WIDE = "(min-width: 52rem)";

export class Drawer {
  readonly #sidebar = byId("sidebar", HTMLElement);
  readonly #column = byId("column", HTMLDivElement);
  readonly #opener = byId("open-sidebar", HTMLButtonElement);
  readonly #closer = byId("close-sidebar", HTMLButtonElement);
  readonly #wide = matchMedia(WIDE);
  #isOpen = false;

  constructor() {
    this.#opener.addEventListener("click", () => this.#set(true));
    this.#closer.addEventListener("click", () => this.close());
    byId("backdrop", HTMLDivElement).addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#isOpen) return;
      // The same key stops an answer: one press, one meaning.
      event.preventDefault();
      this.close();
    });
    this.#wide.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  close(): void {
    if (this.#isOpen) this.#set(false);
  }

  #set(isOpen: boolean): void {
    this.#isOpen = isOpen;
    this.#apply();
    (isOpen ? this.#closer : this.#opener).focus();
  }

  #apply(): void {
    const isOver = this.#isOpen && !this.#wide.matches;
    this.#sidebar.inert = !this.#wide.matches && !this.#isOpen;
    this.#column.inert = isOver;
    this.#opener.setAttribute("aria-expanded", String(isOver));
    document.body.classList.toggle("drawer-open", isOver);
  }
}
