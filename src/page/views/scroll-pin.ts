/**
 * Keeps the newest text in view while it grows, unless the reader scrolled up to read; then a button leads back.
 * What counts as "the reader scrolled" is where the view stands after a scroll event that was not our own.
 */

/** Within this distance of the end the reader is at the end: covers fractional scroll positions and a line of text. */
const NEAR_END_PX = 48;

export class ScrollPin {
  readonly #scroller: HTMLElement;
  readonly #jump: HTMLButtonElement;
  #isPinned = true;
  #lastTopPx = 0;

  constructor(scroller: HTMLElement, jump: HTMLButtonElement) {
    this.#scroller = scroller;
    this.#jump = jump;
    scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    jump.addEventListener("click", () => this.pin());
    // The view changes size with the message box, the phone's keyboard and rotation.
    new ResizeObserver(() => this.afterDraw()).observe(scroller);
  }

  /** Go to the end and stay there. */
  pin(): void {
    this.#isPinned = true;
    this.afterDraw();
  }

  /** Called after the content has grown. */
  afterDraw(): void {
    if (this.#isPinned) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#jump.hidden = this.#isPinned || this.#distanceToEndPx() <= NEAR_END_PX;
  }

  #onScroll(): void {
    const top = this.#scroller.scrollTop;
    // Upwards is always the reader; downwards pins only on arrival at the end.
    if (top < this.#lastTopPx - 1 && this.#distanceToEndPx() > NEAR_END_PX) this.#isPinned = false;
    else if (this.#distanceToEndPx() <= NEAR_END_PX) this.#isPinned = true;
    this.#lastTopPx = top;
    this.#jump.hidden = this.#isPinned;
  }

  #distanceToEndPx(): number {
    return this.#scroller.scrollHeight - this.#scroller.clientHeight - this.#scroller.scrollTop;
  }
}
