/**
 * GBNF, llama.cpp's notation for context-free grammars: rules `name ::= …`, "literals", [classes], `.`, groups,
 * alternatives, `*`, `+`, `?`, `{m,n}`, comments from `#`. The text is what `root` matches. A rule may contain itself,
 * but not begin with itself.
 */
import { type ApiError, invalidRequest } from "../../protocol/errors.ts";
import { GRAMMAR_CHARS_MAX, PATTERN_DEPTH_MAX } from "../../protocol/limits.ts";
import { choice, type Expression, literal, NOTHING, type Rule, repeat, rule, ruleRef, sequence } from "./expression.ts";
import { ANY_CHARACTER, complement, union } from "./ranges.ts";

/** @throws ApiError (400) */
export function fromGbnf(text: string, param: string): Expression {
  if (text.length > GRAMMAR_CHARS_MAX) {
    throw invalidRequest(
      `'${param}' has ${text.length} characters; the limit is ${GRAMMAR_CHARS_MAX}.`,
      param,
      "grammar_too_large",
    );
  }
  return new GbnfParser(text, param).parse();
}

const ESCAPES: Record<string, string> = {
  n: "\n",
  r: "\r",
  t: "\t",
  '"': '"',
  "\\": "\\",
  "[": "[",
  "]": "]",
  "-": "-",
  "^": "^",
};
const HEX_DIGITS: Record<string, number> = { x: 2, u: 4, U: 8 };

class GbnfParser {
  readonly #text: string;
  readonly #param: string;
  readonly #rules = new Map<string, Rule>();
  #at = 0;

  constructor(text: string, param: string) {
    this.#text = text;
    this.#param = param;
  }

  parse(): Expression {
    this.#space(true);
    while (this.#at < this.#text.length) this.#rule();
    for (const { name, body } of this.#rules.values()) {
      if (body === null) throw this.#wrong(`the rule '${shortened(name)}' is used and not defined`);
    }
    const root = this.#rules.get("root");
    if (root === undefined) throw this.#wrong("there is no rule 'root'");
    return ruleRef(root);
  }

  #rule(): void {
    const name = this.#name();
    this.#space(false);
    if (!this.#take("::=")) throw this.#wrong(`'::=' is missing behind '${shortened(name)}'`);
    this.#space(true);
    const body = this.#alternatives(0);
    const one = this.#ruleOf(name);
    if (one.body !== null) throw this.#wrong(`the rule '${shortened(name)}' is defined twice`);
    one.body = body;
    this.#space(true);
  }

  #ruleOf(name: string): Rule {
    const known = this.#rules.get(name);
    if (known !== undefined) return known;
    const made = rule(name);
    this.#rules.set(name, made);
    return made;
  }

  #alternatives(depth: number): Expression {
    const options = [this.#sequence(depth)];
    while (this.#takeBar()) {
      this.#space(true);
      options.push(this.#sequence(depth));
    }
    return choice(...options);
  }

  /** An alternative may begin on a line of its own. */
  #takeBar(): boolean {
    const at = this.#at;
    this.#space(true);
    if (this.#take("|")) return true;
    this.#at = at;
    return false;
  }

  #sequence(depth: number): Expression {
    const parts: Expression[] = [];
    for (let item = this.#item(depth); item !== null; item = this.#item(depth)) {
      parts.push(this.#repeated(item));
      // Within a group lines mean nothing.
      this.#space(depth > 0);
    }
    return sequence(...parts);
  }

  #item(depth: number): Expression | null {
    const character = this.#text[this.#at] ?? "";
    if (character === '"') return this.#literal();
    if (character === "[") return this.#class();
    if (this.#take(".")) return { kind: "char", ranges: ANY_CHARACTER };
    if (character === "(") return this.#group(depth);
    if (/[a-zA-Z0-9_-]/.test(character)) return ruleRef(this.#ruleOf(this.#name()));
    return null;
  }

  #group(depth: number): Expression {
    if (depth >= PATTERN_DEPTH_MAX) throw this.#wrong(`groups are nested deeper than ${PATTERN_DEPTH_MAX}`);
    this.#at++;
    this.#space(true);
    const inner = this.#alternatives(depth + 1);
    this.#space(true);
    if (!this.#take(")")) throw this.#wrong("a group has no end");
    return inner;
  }

  #repeated(item: Expression): Expression {
    let out = item;
    for (let num = 0; ; num++) {
      if (num > PATTERN_DEPTH_MAX) throw this.#wrong("too many counts in a row");
      if (this.#take("*")) out = repeat(out, 0, null);
      else if (this.#take("+")) out = repeat(out, 1, null);
      else if (this.#take("?")) out = repeat(out, 0, 1);
      else if (this.#take("{")) out = this.#counted(out);
      else return out;
    }
  }

  #counted(item: Expression): Expression {
    const digits = /\s*([0-9]*)\s*(,?)\s*([0-9]*)\s*\}/y;
    digits.lastIndex = this.#at;
    const match = digits.exec(this.#text);
    if (match === null || (match[1] === "" && match[3] === "")) throw this.#wrong("a count is no {m}, {m,} or {m,n}");
    this.#at = digits.lastIndex;
    const min = Number(match[1]);
    const max = match[2] === "" ? min : match[3] === "" ? null : Number(match[3]);
    if (!Number.isSafeInteger(min) || (max !== null && !Number.isSafeInteger(max)))
      throw this.#wrong("a count is too large");
    if (max !== null && max < min) throw this.#wrong("counts are out of order");
    return repeat(item, min, max);
  }

  #literal(): Expression {
    this.#at++;
    let text = "";
    while (!this.#take('"')) text += this.#character();
    return text === "" ? NOTHING : literal(text);
  }

  #class(): Expression {
    this.#at++;
    const isNegated = this.#take("^");
    const pairs: number[] = [];
    while (!this.#take("]")) {
      const low = this.#character().codePointAt(0)!;
      const isRange = this.#text[this.#at] === "-" && this.#text[this.#at + 1] !== "]";
      if (isRange) this.#at++;
      const high = isRange ? this.#character().codePointAt(0)! : low;
      if (high < low) throw this.#wrong("a range of a class is out of order");
      pairs.push(low, high);
    }
    const ranges = union(pairs);
    return { kind: "char", ranges: isNegated ? complement(ranges) : ranges };
  }

  /** One character of a literal or class. */
  #character(): string {
    const code = this.#text.codePointAt(this.#at);
    if (code === undefined || code === 0x0a || code === 0x0d) throw this.#wrong("a literal or class has no end");
    const character = String.fromCodePoint(code);
    this.#at += character.length;
    if (character !== "\\") return character;
    const letter = this.#text[this.#at++] ?? "";
    const known = ESCAPES[letter];
    if (known !== undefined) return known;
    const numDigits = HEX_DIGITS[letter];
    if (numDigits === undefined) throw this.#wrong(`there is no escape '\\${letter}'`);
    const digits = this.#text.slice(this.#at, this.#at + numDigits);
    const value = /^[0-9a-f]+$/i.test(digits) && digits.length === numDigits ? Number.parseInt(digits, 16) : -1;
    if (value < 0 || value > 0x10ffff) throw this.#wrong("an escape is no character");
    this.#at += numDigits;
    return String.fromCodePoint(value);
  }

  #name(): string {
    const name = /[a-zA-Z0-9_-]*/y;
    name.lastIndex = this.#at;
    const text = name.exec(this.#text)?.[0] ?? "";
    if (text === "") throw this.#wrong("a rule's name is missing");
    this.#at += text.length;
    return text;
  }

  #take(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #space(withLines: boolean): void {
    const space = withLines ? /(?:[ \t\r\n]|#[^\n]*)*/y : /(?:[ \t]|#[^\n]*)*/y;
    space.lastIndex = this.#at;
    space.exec(this.#text);
    this.#at = Math.max(this.#at, space.lastIndex);
  }

  #wrong(what: string): ApiError {
    const line = this.#text.slice(0, this.#at).split("\n").length;
    return invalidRequest(`'${this.#param}' is no grammar: ${what}, in line ${line}.`, this.#param, "invalid_grammar");
  }
}

function shortened(name: string): string {
  return name.length > 60 ? `${name.slice(0, 60)}…` : name;
}
