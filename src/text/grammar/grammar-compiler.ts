/**
 * Constraints → token grammars, for one tokenizer. The vocabulary's trie is made once, with the first grammar; grammars
 * that were compiled lately are kept, so a schema that comes with every request is compiled once.
 */
import { invalidRequest } from "../../protocol/errors.ts";
import type { Constraint } from "../../protocol/generate.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { Automaton } from "./automaton.ts";
import { fromConstraint } from "./constraint.ts";
import { constraintKey, partsKey } from "./constraint-key.ts";
import { AutomatonGrammar } from "./cursor.ts";
import type { Expression } from "./expression.ts";
import { MaskCache } from "./mask-cache.ts";
import { MaskBuilder } from "./masks.ts";
import { MemoryBudget } from "./memory-budget.ts";
import { buildProgram } from "./program-builder.ts";
import type { TokenGrammar } from "./token-grammar.ts";
import { TokenTrie } from "./token-trie.ts";

/** Masks kept for one model: 6 KB each with a vocabulary of 49,000, and JSON needs some dozen again and again. */
const MASK_BYTES_MAX = 1_000_000;

/** States and stacks kept for one model, about 700 bytes each. */
const STATE_BYTES_MAX = 2_000_000;

/** Compiled grammars kept for one model, and places in all of them together (about 100 bytes each). */
const GRAMMARS_MAX = 16;
const KEPT_NODES_MAX = 8 * 1024;

interface Kept {
  grammar: TokenGrammar;
  numNodes: number;
}

export class GrammarCompiler {
  readonly #tokenizer: Tokenizer;
  readonly #memory = new MemoryBudget(STATE_BYTES_MAX);
  readonly #masks = new MaskCache(MASK_BYTES_MAX);
  #trie: TokenTrie | null = null;
  /** By the constraint's text, in the order of their last use. */
  readonly #kept = new Map<string, Kept>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** What is held, in bytes; the trie is there from the first grammar on. */
  get heldBytes(): number {
    return (this.#trie?.heldBytes ?? 0) + this.#masks.heldBytes + this.#memory.heldBytes;
  }

  /**
   * @param param the request's field, for errors
   * @throws ApiError (400) that names what cannot be enforced
   */
  compile(constraint: Constraint, param: string): TokenGrammar {
    return this.#keptOr(constraintKey(constraint, param), () => fromConstraint(constraint, param), param);
  }

  /** A grammar of one's own making. Not kept. */
  compileParts(expression: Expression, param: string): TokenGrammar {
    return this.#compile(expression, param).grammar;
  }

  /** @param make is called where nothing is kept under `key`, which says all that the grammar depends on */
  compileKeptParts(key: unknown, make: () => Expression, param: string): TokenGrammar {
    return this.#keptOr(partsKey(key), make, param);
  }

  #keptOr(key: string | null, make: () => Expression, param: string): TokenGrammar {
    const kept = key === null ? undefined : this.#kept.get(key);
    if (key === null || kept === undefined) {
      const made = this.#compile(make(), param);
      if (key !== null) this.#keep(key, made);
      return made.grammar;
    }
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.grammar;
  }

  #compile(expression: Expression, param: string): Kept {
    this.#trie ??= new TokenTrie(this.#tokenizer);
    const trie = this.#trie;
    if (trie.endIds.length === 0) {
      throw invalidRequest(
        `'${param}' needs a token that ends an answer, and this model's vocabulary has none. Leave it out.`,
        param,
        "unsupported_parameter",
      );
    }
    const program = buildProgram(expression, param, trie.isByteToken);
    const automaton = new Automaton(program, this.#memory);
    if (!automaton.start.isOpen) throw unsatisfiable(param);
    const masks = new MaskBuilder(automaton, trie, this.#masks, this.#memory);
    const grammar = new AutomatonGrammar({ automaton, masks, trie, memory: this.#memory, tokenizer: this.#tokenizer });
    return { grammar, numNodes: program.nodes.length };
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.set(key, kept);
    let numNodes = 0;
    for (const one of this.#kept.values()) numNodes += one.numNodes;
    for (const [oldest, old] of this.#kept) {
      if (this.#kept.size <= GRAMMARS_MAX && numNodes <= KEPT_NODES_MAX) break;
      this.#kept.delete(oldest);
      numNodes -= old.numNodes;
    }
  }
}

const compilers = new WeakMap<Tokenizer, GrammarCompiler>();

/** The compiler of a tokenizer, made when it is first asked for. */
export function grammarCompilerOf(tokenizer: Tokenizer): GrammarCompiler {
  const known = compilers.get(tokenizer);
  if (known !== undefined) return known;
  const made = new GrammarCompiler(tokenizer);
  compilers.set(tokenizer, made);
  return made;
}

/** @throws ApiError (400) that names what cannot be enforced */
export function compileConstraint(constraint: Constraint, tokenizer: Tokenizer, param: string): TokenGrammar {
  return grammarCompilerOf(tokenizer).compile(constraint, param);
}

/** @throws ApiError (400) where no text matches */
export function compileParts(expression: Expression, tokenizer: Tokenizer, param: string): TokenGrammar {
  return grammarCompilerOf(tokenizer).compileParts(expression, param);
}

function unsatisfiable(param: string): Error {
  return invalidRequest(
    `No text of this model's vocabulary matches '${param}'. Look for parts that contradict each other.`,
    param,
    "unsatisfiable_grammar",
  );
}
