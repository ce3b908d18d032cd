/** The characters of a pattern, one code point at a time, and the errors that say where it goes wrong. */

import type { ApiError } from "../../protocol/errors.ts";
import { invalidRequest } from "../../protocol/errors.ts";

export class RegexReader {
  readonly #characters: readonly string[];
  readonly #param: string;
  #at = 0;

  constructor(pattern: string, param: string) {
    this.#characters = Array.from(pattern);
    this.#param = param;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#characters.length;
  }

  get position(): number {
    return this.#at;
  }

  /** Goes back to where `position` was. */
  rewind(position: number): void {
    this.#at = position;
  }

  /** "" at the end. */
  peek(ahead = 0): string {
    return this.#characters[this.#at + ahead] ?? "";
  }

  next(): string {
    return this.#characters[this.#at++] ?? "";
  }

  /** Takes `text` where it comes next. */
  take(text: string): boolean {
    const wanted = Array.from(text);
    if (!wanted.every((character, i) => this.#characters[this.#at + i] === character)) return false;
    this.#at += wanted.length;
    return true;
  }

  /** A decimal number, or null where there is none. */
  number(): number | null {
    let digits = "";
    while (/^[0-9]$/.test(this.peek())) digits += this.next();
    if (digits === "") return null;
    const value = Number(digits);
    if (!Number.isSafeInteger(value)) throw this.wrong(`the count ${digits.slice(0, 20)} is too large`);
    return value;
  }

  hex(numDigits: number): number {
    let digits = "";
    for (let i = 0; i < numDigits; i++) digits += this.next();
    if (digits.length !== numDigits || !/^[0-9a-f]+$/i.test(digits)) throw this.wrong("an escape lacks hex digits");
    return Number.parseInt(digits, 16);
  }

  wrong(what: string): ApiError {
    return invalidRequest(
      `'${this.#param}' is no pattern: ${what}, at character ${this.#at}.`,
      this.#param,
      "invalid_pattern",
    );
  }

  unsupported(what: string): ApiError {
    return invalidRequest(
      `'${this.#param}' has ${what} at character ${this.#at}, which cannot be enforced. Patterns may have classes, groups, ` +
        "alternatives and counts.",
      this.#param,
      "unsupported_pattern",
    );
  }
}
