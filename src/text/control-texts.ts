/**
 * Keeps what people wrote from being read as structure. A template mixes its own control tokens with message text, and
 * only the template's may become tokens; but templates also trim, split and inspect messages, so their text cannot
 * simply be wrapped. Instead an invisible mark goes in front of just those characters of a message where a control
 * token could begin. After rendering, the marks are taken out and say where in the text no control token may match.
 *
 * Invariants: a message that contains nothing like a control token is not touched, so its rendering and ids are those
 * of plain rendering; and with marks taken out the text is the plain rendering too, unless the template itself looks
 * for the control text in the message.
 */
import { escapeRegExp, type TextRange } from "./special-splitter.ts";

/** A noncharacter: not white space, so that trimming sees the same text, and never part of a token. */
const MARK = "\ufdd0";

export interface Marking {
  /** Text with marks in it. */
  mark(text: string): string;
  /** Takes the marks out of rendered text. `plain`: ranges that no control token may touch, ascending. */
  unmark(text: string): { text: string; plain: TextRange[] };
}

export class ControlTexts {
  readonly #texts: ReadonlySet<string>;
  /** All of them, to be searched at once. */
  readonly #joined: string;
  readonly #starts: RegExp | null;
  /** Every proper beginning and ending of a control text: a message may complete one together with the template. */
  readonly #beginnings = new Set<string>();
  readonly #endings = new Set<string>();
  readonly #lengthMax: number;

  constructor(texts: readonly string[]) {
    this.#texts = new Set(texts);
    this.#joined = texts.join("\n");
    this.#starts = texts.length === 0 ? null : new RegExp(`(?=${texts.map(escapeRegExp).join("|")})`, "g");
    this.#lengthMax = Math.max(0, ...texts.map(({ length }) => length));
    for (const text of texts) {
      for (let cut = 1; cut < text.length; cut++) {
        this.#beginnings.add(text.slice(0, cut));
        this.#endings.add(text.slice(cut));
      }
    }
  }

  has(text: string): boolean {
    return this.#texts.has(text);
  }

  /** Marks for one rendering; null where no text needs any. */
  marking(texts: readonly string[]): Marking | null {
    if (texts.every((text) => this.#places(text).length === 0)) return null;
    // One longer than any run of the character in the messages: then the end of a run tells a mark from text.
    const mark = MARK.repeat(longestRun(texts) + 1);
    return {
      mark: (text) => inserted(text, this.#places(text), mark),
      unmark: (text) => withoutMarks(text, mark),
    };
  }

  /** Offsets at which a control token could begin, or where one that the template began could go on. */
  #places(text: string): number[] {
    const places = new Set<number>();
    if (this.#starts !== null) for (const { index } of text.matchAll(this.#starts)) places.add(index);
    // Templates often trim, so what touches the template may be the trimmed text.
    for (const end of [text.length, text.trimEnd().length]) {
      for (let at = Math.max(0, end - this.#lengthMax); at < end; at++) {
        if (this.#beginnings.has(text.slice(at, end))) places.add(at);
      }
    }
    for (const start of [0, text.length - text.trimStart().length]) {
      for (let end = start + 1; end <= Math.min(text.length, start + this.#lengthMax); end++) {
        if (this.#endings.has(text.slice(start, end))) places.add(start);
      }
    }
    const trimmed = text.trim();
    // The template may write a control token around it: `<|{{ name }}|>`.
    const isWithin = trimmed !== "" && trimmed.length <= this.#lengthMax && this.#joined.includes(trimmed);
    if (isWithin) places.add(text.indexOf(trimmed));
    return [...places].sort((a, b) => a - b);
  }
}

function inserted(text: string, places: readonly number[], mark: string): string {
  let marked = "";
  let end = 0;
  for (const place of places) {
    marked += text.slice(end, place) + mark;
    end = place;
  }
  return marked + text.slice(end);
}

function withoutMarks(text: string, mark: string): { text: string; plain: TextRange[] } {
  const plain: TextRange[] = [];
  let unmarked = "";
  let end = 0;
  for (const { index } of text.matchAll(new RegExp(`${mark}(?!${MARK})`, "g"))) {
    unmarked += text.slice(end, index);
    end = index + mark.length;
    plain.push([unmarked.length, unmarked.length + 1]);
  }
  return { text: unmarked + text.slice(end), plain };
}

function longestRun(texts: readonly string[]): number {
  const runs = texts.flatMap((text) => text.match(new RegExp(`${MARK}+`, "g")) ?? []);
  return Math.max(0, ...runs.map(({ length }) => length));
}
