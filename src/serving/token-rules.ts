/** What a request says of the tokens that its choices may draw, made ready once for all of them. */
import { invalidRequest } from "../protocol/errors.ts";
import type { Constraint, GenerateRequest } from "../protocol/generate.ts";
import { compileConstraint } from "../text/grammar/grammar-compiler.ts";
import type { TokenGrammar } from "../text/grammar/token-grammar.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { checkTokenId } from "./prompt-encoder.ts";
import { TokenFilter } from "./token-filter.ts";
import { allMask, allowsAny, maskOf } from "./token-mask.ts";

export interface TokenRules {
  /** Of the model. */
  vocabSize: number;
  grammar: TokenGrammar | null;
  /** These alone may come; null = all. */
  allowed: Uint32Array | null;
  /** Tokens of an answer before which `earlyEnds` may not come. */
  minTokens: number;
  /** What would end the answer there: stop tokens too, and end-of-generation tokens where those end it. */
  earlyEnds: Uint32Array;
  /** End-of-generation tokens: behind them no grammar goes on. */
  ends: Uint32Array;
  endIds: ReadonlySet<number>;
  /** Of two tokens at least: the last may not follow the others. */
  badWords: readonly (readonly number[])[];
  /** Tokens that the longest of them looks back. */
  numRecent: number;
}

type RuledRequest = Pick<
  GenerateRequest,
  "constraint" | "minTokens" | "allowedTokenIds" | "badWords" | "stopTokenIds" | "ignoreEos" | "beams"
>;

/**
 * @returns null where any token may come at any time
 * @throws ApiError 400 naming the field
 */
export function tokenRulesOf(request: RuledRequest, tokenizer: Tokenizer, vocabSize: number): TokenRules | null {
  const { constraint, minTokens, allowedTokenIds, badWords } = request;
  const isRuled = constraint !== null || minTokens > 0 || allowedTokenIds !== null || badWords.length > 0;
  if (!isRuled) return null;
  if (request.beams !== null) {
    throw invalidRequest(
      "Beam search draws no tokens, so they cannot be restricted. Leave out 'use_beam_search', or response_format, " +
        "structured_outputs, min_tokens, allowed_token_ids and bad_words.",
      "use_beam_search",
      "unsupported_parameter",
    );
  }
  if (constraint === null) return joinRules(request, null, tokenizer, vocabSize);
  return joinRules(request, compileConstraint(constraint, tokenizer, paramOf(constraint)), tokenizer, vocabSize);
}

/** The same with a grammar that is compiled already; the request's own constraint is not looked at. */
export function joinRules(
  request: Omit<RuledRequest, "constraint" | "beams">,
  grammar: TokenGrammar | null,
  tokenizer: Tokenizer,
  vocabSize: number,
): TokenRules {
  const { minTokens, allowedTokenIds, badWords } = request;
  const { endOfGenerationIds } = tokenizer;
  const words = badWords.flatMap((word) => spellings(word, tokenizer));
  const several = words.filter(({ length }) => length > 1);
  const ends = maskOf(endOfGenerationIds, vocabSize);
  const rules: TokenRules = {
    vocabSize,
    grammar,
    allowed: allowedOf(allowedTokenIds, new Set(words.filter(({ length }) => length === 1).flat()), vocabSize),
    minTokens,
    earlyEnds: maskOf([...request.stopTokenIds, ...(request.ignoreEos ? [] : endOfGenerationIds)], vocabSize),
    ends,
    endIds: endOfGenerationIds,
    badWords: several,
    numRecent: several.reduce((most, { length }) => Math.max(most, length - 1), 0),
  };
  if (new TokenFilter(rules).state === "stuck" || (rules.allowed !== null && !allowsAny(rules.allowed, vocabSize))) {
    throw invalidRequest(
      "This request allows no token at all to begin with: its constraint, allowed_token_ids, bad_words and min_tokens " +
        "exclude each other.",
      allowedTokenIds !== null ? "allowed_token_ids" : badWords.length > 0 ? "bad_words" : "min_tokens",
    );
  }
  return rules;
}

function allowedOf(ids: readonly number[] | null, struck: ReadonlySet<number>, vocabSize: number): Uint32Array | null {
  if (ids === null && struck.size === 0) return null;
  for (const id of ids ?? []) checkTokenId(id, vocabSize, "allowed_token_ids");
  const mask = ids === null ? allMask(vocabSize) : maskOf(ids, vocabSize);
  for (const id of struck) mask[id >> 5]! &= ~(1 << (id & 31));
  return mask;
}

/** A word at the beginning of a text, and behind a space: many vocabularies have tokens of their own for that. */
function spellings(word: string, tokenizer: Tokenizer): number[][] {
  const options = { addSpecialTokens: false, parseSpecial: false, continues: true };
  const bare = word.trimStart();
  return [word, bare, ` ${bare}`]
    .map((text) => tokenizer.encode(text, options))
    .filter((tokens, i, all) => tokens.length > 0 && all.findIndex((other) => isSame(other, tokens)) === i);
}

const isSame = (a: readonly number[], b: readonly number[]) => a.length === b.length && a.every((id, i) => id === b[i]);

/** The field that a client most likely wrote. */
const paramOf = ({ kind }: Constraint): string =>
  kind === "json" || kind === "schema" ? "response_format" : "structured_outputs";
