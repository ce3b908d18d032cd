/**
 * Regular expressions, in ECMAScript's notation with the flag `u`: characters, classes, `.`, groups, alternatives, `*`,
 * `+`, `?`, `{m,n}` (lazy ones match the same texts), `^` and `$` at the ends. Look-around, back references, word
 * boundaries and Unicode properties are refused by name.
 */
import { invalidRequest } from "../../protocol/errors.ts";
import { PATTERN_CHARS_MAX, PATTERN_DEPTH_MAX } from "../../protocol/limits.ts";
import { choice, type Expression, NOTHING, type Ranges, repeat, sequence } from "./expression.ts";
import { ANY_CHARACTER, complement, union } from "./ranges.ts";
import { classEscape, controlEscape, DOT } from "./regex-class.ts";
import { RegexReader } from "./regex-reader.ts";

export interface RegexOptions {
  /** The request's field, for errors. */
  param: string;
  /** How one character of a set is written where the pattern is used. */
  character: (ranges: Ranges) => Expression;
  /** The pattern may match anywhere in the text, as JSON Schema's do; otherwise it is the whole text. */
  isSearch: boolean;
}

/** @throws ApiError (400) */
export function fromRegex(pattern: string, options: RegexOptions): Expression {
  const { param } = options;
  if (pattern.length > PATTERN_CHARS_MAX) {
    throw invalidRequest(
      `'${param}' has ${pattern.length} characters; the limit is ${PATTERN_CHARS_MAX}.`,
      param,
      "pattern_too_long",
    );
  }
  return new RegexParser(pattern, options).parse();
}

class RegexParser {
  readonly #reader: RegexReader;
  readonly #options: RegexOptions;

  constructor(pattern: string, options: RegexOptions) {
    this.#reader = new RegexReader(pattern, options.param);
    this.#options = options;
  }

  parse(): Expression {
    const branches: Expression[] = [];
    do branches.push(this.#branch());
    while (this.#reader.take("|"));
    if (!this.#reader.isAtEnd) throw this.#reader.wrong(`'${this.#reader.peek()}' has no beginning`);
    return choice(...branches);
  }

  /** An alternative of the whole pattern: where it has no anchor, anything may stand before or after it. */
  #branch(): Expression {
    const anything = repeat(this.#options.character(ANY_CHARACTER), 0, null);
    const isFree = this.#options.isSearch;
    const isAnchored = this.#takeAll("^");
    const inner = this.#terms(0);
    const isEnded = this.#takeAll("$");
    return sequence(isFree && !isAnchored ? anything : NOTHING, inner, isFree && !isEnded ? anything : NOTHING);
  }

  #takeAll(anchor: string): boolean {
    let isThere = false;
    while (this.#reader.take(anchor)) isThere = true;
    return isThere;
  }

  #terms(depth: number): Expression {
    const parts: Expression[] = [];
    for (;;) {
      const next = this.#reader.peek();
      if (next === "" || next === "|" || next === ")") break;
      if (next === "$" && depth === 0 && this.#endsBranch()) break;
      parts.push(this.#quantified(depth));
    }
    return sequence(...parts);
  }

  #endsBranch(): boolean {
    let ahead = 0;
    while (this.#reader.peek(ahead) === "$") ahead++;
    const after = this.#reader.peek(ahead);
    return after === "" || after === "|";
  }

  #quantified(depth: number): Expression {
    const atom = this.#atom(depth);
    const counts = this.#counts();
    if (counts === null) return atom;
    this.#reader.take("?");
    if (this.#counts() !== null) throw this.#reader.wrong("a count has nothing to repeat");
    if (counts.max !== null && counts.max < counts.min) throw this.#reader.wrong("the counts are out of order");
    return repeat(atom, counts.min, counts.max);
  }

  #counts(): { min: number; max: number | null } | null {
    if (this.#reader.take("*")) return { min: 0, max: null };
    if (this.#reader.take("+")) return { min: 1, max: null };
    if (this.#reader.take("?")) return { min: 0, max: 1 };
    const position = this.#reader.position;
    if (!this.#reader.take("{")) return null;
    const min = this.#reader.number();
    const hasComma = this.#reader.take(",");
    const max = hasComma ? this.#reader.number() : min;
    // As in Perl and Python, not in ECMAScript: a brace that is no count stands for itself.
    if (!this.#reader.take("}") || (min === null && max === null)) {
      this.#reader.rewind(position);
      return null;
    }
    return { min: min ?? 0, max };
  }

  #atom(depth: number): Expression {
    const character = this.#reader.next();
    switch (character) {
      case "(":
        return this.#group(depth);
      case "[":
        return this.#options.character(this.#set());
      case ".":
        return this.#options.character(DOT);
      case "\\":
        return this.#options.character(this.#escape(false));
      case "^":
      case "$":
        throw this.#reader.unsupported(`the anchor '${character}' inside the pattern`);
      case "*":
      case "+":
      case "?":
        throw this.#reader.wrong(`'${character}' has nothing to repeat`);
      default:
        return this.#options.character(single(character));
    }
  }

  #group(depth: number): Expression {
    if (depth >= PATTERN_DEPTH_MAX) throw this.#reader.wrong(`groups are nested deeper than ${PATTERN_DEPTH_MAX}`);
    this.#groupHead();
    const branches: Expression[] = [];
    do branches.push(this.#terms(depth + 1));
    while (this.#reader.take("|"));
    if (!this.#reader.take(")")) throw this.#reader.wrong("a group has no end");
    return choice(...branches);
  }

  #groupHead(): void {
    if (!this.#reader.take("?") || this.#reader.take(":")) return;
    if (this.#reader.take("=") || this.#reader.take("!")) throw this.#reader.unsupported("a look-ahead");
    if (this.#reader.take("<=") || this.#reader.take("<!")) throw this.#reader.unsupported("a look-behind");
    this.#reader.take("P");
    if (!this.#reader.take("<")) throw this.#reader.unsupported("a group of an unknown kind");
    while (!this.#reader.take(">")) {
      if (!/^[\w$]$/.test(this.#reader.next())) throw this.#reader.wrong("a group's name has no end");
    }
  }

  #set(): Ranges {
    const isNegated = this.#reader.take("^");
    const pairs: number[] = [];
    while (!this.#reader.take("]")) {
      if (this.#reader.isAtEnd) throw this.#reader.wrong("a class has no end");
      const low = this.#setMember();
      if (this.#reader.peek() !== "-" || this.#reader.peek(1) === "]" || this.#reader.peek(1) === "") {
        for (const bound of low) pairs.push(bound);
        continue;
      }
      this.#reader.next();
      const high = this.#setMember();
      if (!isSingle(low) || !isSingle(high)) throw this.#reader.wrong("a range of a class ends in a class");
      if (high[0]! < low[0]!) throw this.#reader.wrong("a range of a class is out of order");
      pairs.push(low[0]!, high[0]!);
    }
    const ranges = union(pairs);
    return isNegated ? complement(ranges) : ranges;
  }

  #setMember(): Ranges {
    const character = this.#reader.next();
    return character === "\\" ? this.#escape(true) : single(character);
  }

  #escape(isInSet: boolean): Ranges {
    const letter = this.#reader.next();
    if (letter === "") throw this.#reader.wrong("it ends in a backslash");
    const known = classEscape(letter);
    if (known !== undefined) return known;
    const control = controlEscape(letter);
    if (control !== undefined) return [control, control];
    if (letter === "b" && isInSet) return [0x08, 0x08];
    if (letter === "b" || letter === "B") throw this.#reader.unsupported("a word boundary");
    if (letter === "p" || letter === "P") throw this.#reader.unsupported("a Unicode property");
    if (letter === "k" || /^[1-9]$/.test(letter)) throw this.#reader.unsupported("a back reference");
    if (letter === "0") return [0, 0];
    if (letter === "x") return one(this.#reader.hex(2));
    if (letter === "u") return one(this.#unicodeEscape());
    if (letter === "c" && /^[a-z]$/i.test(this.#reader.peek())) return one(this.#reader.next().charCodeAt(0) % 32);
    if (/^[a-z0-9]$/i.test(letter)) throw this.#reader.wrong(`there is no escape '\\${letter}'`);
    return single(letter);
  }

  #unicodeEscape(): number {
    if (this.#reader.take("{")) {
      let digits = "";
      while (!this.#reader.take("}")) {
        if (digits.length >= 8 || this.#reader.isAtEnd) throw this.#reader.wrong("an escape has no end");
        digits += this.#reader.next();
      }
      const code = /^[0-9a-f]+$/i.test(digits) ? Number.parseInt(digits, 16) : Number.POSITIVE_INFINITY;
      if (code > 0x10ffff) throw this.#reader.wrong("an escape is no character");
      return code;
    }
    const high = this.#reader.hex(4);
    if (high < 0xd800 || high > 0xdbff || !this.#reader.take("\\u")) return high;
    const low = this.#reader.hex(4);
    if (low < 0xdc00 || low > 0xdfff) throw this.#reader.wrong("a surrogate has no other half");
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  }
}

function single(character: string): Ranges {
  return one(character.codePointAt(0)!);
}

function one(code: number): Ranges {
  return [code, code];
}

function isSingle(ranges: Ranges): boolean {
  return ranges.length === 2 && ranges[0] === ranges[1];
}
