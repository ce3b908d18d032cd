/**
 * Cuts text at the special tokens it contains: the leftmost match, the longest of several at one place. Works on UTF-16
 * code units, like the offsets of its callers.
 */
import type { SpecialToken } from "./vocabulary.ts";

/** Half-open [start, end) offsets in a text. */
export type TextRange = readonly [start: number, end: number];

export type Fragment = { kind: "token"; id: number } | { kind: "text"; text: string; start: number };

export class SpecialSplitter {
  readonly #byText: ReadonlyMap<string, SpecialToken>;
  readonly #pattern: RegExp | null;

  constructor(tokens: readonly SpecialToken[]) {
    // Longest first: a regular expression takes the first alternative that matches.
    const sorted = tokens.filter(({ text }) => text !== "").sort((a, b) => b.text.length - a.text.length);
    this.#byText = new Map(sorted.map((token) => [token.text, token]));
    this.#pattern = sorted.length === 0 ? null : new RegExp(sorted.map(({ text }) => escaped(text)).join("|"), "g");
  }

  /** @param plain ascending ranges that no match may touch: their characters are ordinary text whatever they spell */
  split(text: string, plain: readonly TextRange[] = []): Fragment[] {
    const fragments: Fragment[] = [];
    let end = 0;
    let stripsNext = false;
    const pushText = (upTo: number, stripsEnd: boolean) => {
      let piece = text.slice(end, upTo);
      let start = end;
      if (stripsNext) {
        piece = piece.trimStart();
        start = upTo - piece.length;
      }
      if (stripsEnd) piece = piece.trimEnd();
      if (piece !== "") fragments.push({ kind: "text", text: piece, start });
    };
    for (const { token, at } of this.#matches(text, plain)) {
      pushText(at, token.stripsBefore);
      fragments.push({ kind: "token", id: token.id });
      end = at + token.text.length;
      stripsNext = token.stripsAfter;
    }
    pushText(text.length, false);
    return fragments;
  }

  *#matches(text: string, plain: readonly TextRange[]): Generator<{ token: SpecialToken; at: number }> {
    if (this.#pattern === null) return;
    let nextPlain = 0;
    const pattern = new RegExp(this.#pattern);
    for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
      const at = match.index;
      const end = at + match[0].length;
      while (nextPlain < plain.length && plain[nextPlain]![1] <= at) nextPlain++;
      const touched = nextPlain < plain.length && plain[nextPlain]![0] < end;
      if (touched) pattern.lastIndex = at + 1;
      else yield { token: this.#byText.get(match[0])!, at };
    }
  }
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
