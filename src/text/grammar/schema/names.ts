/** Names of properties that no schema lists. */
import { choice, type Expression, NEVER, NOTHING, repeat, sequence } from "../expression.ts";
import { quoted, stringCharacter } from "../json-text.ts";
import { ANY_CHARACTER, complement, intersection, union } from "../ranges.ts";
import { fromRegex } from "../regex.ts";

/** Characters that no escape stands for: a name has one spelling, so it cannot be a declared one in disguise. */
const PLAIN = complement([0x00, 0x1f, 0x22, 0x22, 0x5c, 0x5c]);
const PLAIN_CHARACTER: Expression = { kind: "char", ranges: PLAIN };
const ANY_PLAIN = repeat(PLAIN_CHARACTER, 0, null);

/** Every name but those of `names`. */
export function otherNames(names: readonly string[]): Expression {
  const spelled = names.map((name) => Array.from(name)).filter((name) => name.every(isPlain));
  return quoted(notIn(spelled, 0));
}

/** A name in which `pattern` is found. @throws ApiError (400) */
export function patternName(pattern: string, param: string): Expression {
  return quoted(fromRegex(pattern, { param, character: stringCharacter, isSearch: true }));
}

/** What may come behind the first `depth` characters, which all of `names` share. */
function notIn(names: readonly string[][], depth: number): Expression {
  if (names.length === 0) return ANY_PLAIN;
  const byNext = new Map<string, string[][]>();
  for (const name of names) {
    const next = name[depth];
    if (next === undefined) continue;
    const sharing = byNext.get(next);
    if (sharing === undefined) byNext.set(next, [name]);
    else sharing.push(name);
  }
  const taken = union([...byNext.keys()].flatMap((next) => [next.codePointAt(0)!, next.codePointAt(0)!]));
  const others = intersection(PLAIN, intersection(complement(taken), ANY_CHARACTER));
  const mayEnd = names.every((name) => name.length !== depth);
  return choice(
    sequence({ kind: "char", ranges: others }, ANY_PLAIN),
    ...[...byNext].map(([next, sharing]) =>
      sequence({ kind: "char", ranges: [next.codePointAt(0)!, next.codePointAt(0)!] }, notIn(sharing, depth + 1)),
    ),
    mayEnd ? NOTHING : NEVER,
  );
}

function isPlain(character: string): boolean {
  const code = character.codePointAt(0)!;
  return intersection(PLAIN, [code, code]).length > 0;
}
