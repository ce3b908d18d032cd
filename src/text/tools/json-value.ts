/**
 * Finds the end of a JSON value in text that comes a character at a time. It trusts what is between: only strings and
 * brackets are followed, with a counter and no recursion, however deep the value is.
 */
export class JsonValueScanner {
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #hasBegun = false;

  /** @returns "last": the value ends with this character; "before": it ended before it; "none": no value can begin so */
  push(char: string): "more" | "last" | "before" | "none" {
    if (this.#isInString) return this.#inString(char);
    if (char === '"') {
      this.#isInString = true;
      this.#hasBegun = true;
      return "more";
    }
    if (char === "{" || char === "[") {
      this.#depth++;
      this.#hasBegun = true;
      return "more";
    }
    if (this.#depth > 0) {
      if (char !== "}" && char !== "]") return "more";
      return --this.#depth === 0 ? "last" : "more";
    }
    return this.#inWord(char);
  }

  #inString(char: string): "more" | "last" {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (char === "\\") this.#isEscaped = true;
    else if (char === '"') {
      this.#isInString = false;
      return this.#depth === 0 ? "last" : "more";
    }
    return "more";
  }

  /** A number, true, false or null ends where something else begins. */
  #inWord(char: string): "more" | "before" | "none" {
    if (/[-+.0-9A-Za-z]/.test(char)) {
      this.#hasBegun = true;
      return "more";
    }
    return this.#hasBegun ? "before" : "none";
  }
}
