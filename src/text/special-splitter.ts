/**
 * Cuts text at the special tokens it contains: the leftmost match, the longest of several at one place. Works on UTF-16
 * code units, like the offsets of its callers.
 */
import type { SpecialToken } from "./vocabulary.ts";

/** Half-open [start, end) offsets in a text. */
export type TextRange = readonly [start: number, end: number];

export type Fragment = { kind: "token"; id: number } | { kind: "text"; text: string };

export interface SplitOptions {
  /** Match control tokens too, not only user-defined ones. */
  structure: boolean;
  /** Ascending ranges that no control token may touch: there its text is only spelled. */
  plain?: readonly TextRange[] | undefined;
}

export class SpecialSplitter {
  readonly #byText: ReadonlyMap<string, SpecialToken>;
  readonly #all: RegExp | null;
  readonly #userDefined: RegExp | null;

  constructor(tokens: readonly SpecialToken[]) {
    this.#byText = new Map(tokens.map((token) => [token.text, token]));
    this.#all = anyOf(tokens);
    this.#userDefined = anyOf(tokens.filter(({ isStructure }) => !isStructure));
  }

  split(text: string, options: SplitOptions): Fragment[] {
    const fragments: Fragment[] = [];
    let end = 0;
    let stripsStart = false;
    const pushText = (upTo: number, stripsEnd: boolean) => {
      let from = end;
      let to = upTo;
      while (stripsStart && from < to && isAsciiSpace(text.charCodeAt(from))) from++;
      while (stripsEnd && from < to && isAsciiSpace(text.charCodeAt(to - 1))) to--;
      if (from < to) fragments.push({ kind: "text", text: text.slice(from, to) });
    };
    for (const { token, at } of this.#matches(text, options)) {
      pushText(at, token.stripsBefore);
      fragments.push({ kind: "token", id: token.id });
      end = at + token.text.length;
      stripsStart = token.stripsAfter;
    }
    pushText(text.length, false);
    return fragments;
  }

  *#matches(
    text: string,
    { structure, plain = [] }: SplitOptions,
  ): Generator<{ token: SpecialToken; at: number }, void, void> {
    const pattern = structure ? this.#all : this.#userDefined;
    let nextPlain = 0;
    for (let from = 0; pattern !== null && from < text.length; ) {
      const at = firstMatch(pattern, text, from);
      if (at === null) return;
      let token = this.#byText.get(at.text);
      while (nextPlain < plain.length && plain[nextPlain]![1] <= at.index) nextPlain++;
      const touchesPlain = nextPlain < plain.length && plain[nextPlain]![0] < at.index + at.text.length;
      if (token?.isStructure && touchesPlain) token = this.#userDefinedAt(text, at.index);
      if (token !== undefined) yield { token, at: at.index };
      from = at.index + (token?.text.length ?? 1);
    }
  }

  #userDefinedAt(text: string, index: number): SpecialToken | undefined {
    const found = this.#userDefined === null ? null : firstMatch(this.#userDefined, text, index);
    return found?.index === index ? this.#byText.get(found.text) : undefined;
  }
}

function firstMatch(pattern: RegExp, text: string, from: number): { text: string; index: number } | null {
  pattern.lastIndex = from;
  const match = pattern.exec(text);
  return match === null ? null : { text: match[0], index: match.index };
}

function isAsciiSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

/** Longest first: a regular expression takes the first alternative that matches. */
function anyOf(tokens: readonly SpecialToken[]): RegExp | null {
  const texts = tokens.map(({ text }) => text).filter((text) => text !== "");
  texts.sort((a, b) => b.length - a.length);
  return texts.length === 0 ? null : new RegExp(texts.map(escapeRegExp).join("|"), "g");
}

/** A pattern that matches exactly `text`. */
export function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
