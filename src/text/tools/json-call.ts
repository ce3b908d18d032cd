/**
 * Reads one call, `{"name": "…", "arguments": {…}}`, from text that comes in pieces. Keys may come in any order; the text
 * of the arguments is given out as it comes, once the name is known, and is exactly what the model wrote. Arguments that
 * were written as a JSON string are what the string says.
 */
import { JsonValueScanner } from "./json-value.ts";

/** No longer key or name can be one that is known. */
const TEXT_CHARS_MAX = 256;

const ARGUMENT_KEYS = ["arguments", "parameters"];
/** What some models add; passed over. */
const OTHER_KEYS = ["id", "type"];

const NO_ARGUMENTS = "{}";

/** "broken": this is no call. */
export type CallState = "open" | "whole" | "broken";

type Place = "start" | "key or end" | "key" | "in key" | "colon" | "value" | "in value" | "comma or end";

export class JsonCallReader {
  readonly #names: ReadonlySet<string>;
  state: CallState = "open";
  #place: Place = "start";
  /** Key or name as it is written, without the quote before it. */
  #word = "";
  #key = "";
  #value = new JsonValueScanner();
  #name: string | null = null;
  /** Of the arguments, not given out yet. */
  #arguments = "";
  #hasArguments = false;
  #isStringArguments = false;

  /** @param names of the tools there are: an object that names another one is no call */
  constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  /** null until it is known. */
  get name(): string | null {
    return this.#name;
  }

  /** @returns how many of the characters belong to the call: all, unless it is whole or broken before */
  push(text: string): number {
    for (let at = 0; at < text.length; at++) {
      this.#take(text[at]!);
      if (this.state === "whole") return at + 1;
      if (this.state === "broken") return at;
    }
    return text.length;
  }

  /** What is new of the arguments; only with a name. */
  takeArguments(): string {
    if (this.#name === null || (this.#isStringArguments && !this.#hasArguments)) return "";
    const text = this.#arguments;
    this.#arguments = "";
    return text;
  }

  #take(char: string): void {
    if (this.#place === "in key") this.#inKey(char);
    else if (this.#place === "in value") this.#inValue(char);
    else if (!/\s/.test(char)) this.#between(char);
  }

  #between(char: string): void {
    switch (this.#place) {
      case "start":
        this.#go(char === "{" ? "key or end" : null);
        break;
      case "key or end":
      case "key":
        this.#word = "";
        this.#go(char === '"' ? "in key" : null);
        break;
      case "colon":
        this.#go(char === ":" ? "value" : null);
        break;
      case "value":
        this.#beginValue(char);
        this.#inValue(char);
        break;
      case "comma or end":
        if (char === "}") this.#end();
        else this.#go(char === "," ? "key" : null);
    }
  }

  #go(place: Place | null): void {
    if (place === null) this.state = "broken";
    else this.#place = place;
  }

  #inKey(char: string): void {
    if (char !== '"') {
      this.#word += char;
      if (this.#word.length > TEXT_CHARS_MAX) this.state = "broken";
      return;
    }
    this.#key = this.#word;
    const isKnown = this.#key === "name" || ARGUMENT_KEYS.includes(this.#key) || OTHER_KEYS.includes(this.#key);
    this.#go(isKnown ? "colon" : null);
  }

  get #isArguments(): boolean {
    return !this.#hasArguments && ARGUMENT_KEYS.includes(this.#key);
  }

  #beginValue(char: string): void {
    this.#value = new JsonValueScanner();
    this.#word = "";
    if (this.#isArguments) this.#isStringArguments = char === '"';
    this.#place = "in value";
  }

  #inValue(char: string): void {
    const isArguments = this.#isArguments;
    const isName = this.#key === "name" && this.#name === null;
    const found = this.#value.push(char);
    if (found === "none") this.state = "broken";
    if (found === "more" || found === "last") {
      if (isArguments) this.#arguments += char;
      if (isName) this.#word += char;
      if (this.#word.length > TEXT_CHARS_MAX) this.state = "broken";
    }
    if (found === "more" || this.state === "broken") return;
    if (isArguments) this.#endArguments();
    if (isName) this.#endName();
    this.#place = "comma or end";
    if (found === "before" && this.state === "open") this.#take(char);
  }

  #endArguments(): void {
    this.#hasArguments = true;
    if (!this.#isStringArguments) return;
    const text = stringOf(this.#arguments);
    if (text === null) this.state = "broken";
    else this.#arguments = text;
  }

  #endName(): void {
    const name = stringOf(this.#word);
    this.#word = "";
    if (name === null || !this.#names.has(name)) this.state = "broken";
    else this.#name = name;
  }

  #end(): void {
    if (this.#name === null) {
      this.state = "broken";
      return;
    }
    if (!this.#hasArguments) this.#arguments = NO_ARGUMENTS;
    this.state = "whole";
  }
}

function stringOf(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
}
