/** Character classes of regular expressions: `\d`, `\w`, `\s` and their opposites, as ECMAScript defines them. */
import { complement, union } from "./ranges.ts";

const DIGIT = [0x30, 0x39];
const WORD = union([0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]);
const SPACE = union([
  ...[0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a],
  ...[0x2028, 0x2029, 0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000, 0xfeff, 0xfeff],
]);

/** Everything but the ends of lines, as without the flag `s`. */
export const DOT = complement(union([0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029]));

const CLASSES: Record<string, readonly number[]> = {
  d: DIGIT,
  D: complement(DIGIT),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
};

const CONTROLS: Record<string, number> = { t: 0x09, n: 0x0a, v: 0x0b, f: 0x0c, r: 0x0d };

/** Of the letter behind a backslash; undefined where it stands for no class. */
export function classEscape(letter: string): readonly number[] | undefined {
  return CLASSES[letter];
}

/** Of the letter behind a backslash; undefined where it stands for no control character. */
export function controlEscape(letter: string): number | undefined {
  return CONTROLS[letter];
}
