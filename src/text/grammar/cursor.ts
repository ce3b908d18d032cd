/** A text on its way through a grammar. */
import type { Tokenizer } from "../tokenizer.ts";
import type { Automaton } from "./automaton.ts";
import type { MaskBuilder } from "./masks.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import type { State } from "./state.ts";
import type { GrammarCursor, TokenGrammar } from "./token-grammar.ts";
import type { TokenTrie } from "./token-trie.ts";

export class AutomatonGrammar implements TokenGrammar {
  readonly automaton: Automaton;
  readonly masks: MaskBuilder;
  readonly trie: TokenTrie;
  readonly memory: MemoryBudget;
  readonly tokenizer: Pick<Tokenizer, "tokenBytes">;
  readonly endMask: Uint32Array;

  constructor(
    parts: Pick<AutomatonGrammar, "automaton" | "masks" | "trie" | "memory"> & {
      tokenizer: Pick<Tokenizer, "tokenBytes">;
    },
  ) {
    this.automaton = parts.automaton;
    this.masks = parts.masks;
    this.trie = parts.trie;
    this.memory = parts.memory;
    this.tokenizer = parts.tokenizer;
    this.endMask = new Uint32Array(parts.trie.numWords);
    for (const id of parts.trie.endIds) this.endMask[id >> 5]! |= 1 << (id & 31);
  }

  begin(): GrammarCursor {
    return new AutomatonCursor(this, this.automaton.start, false);
  }
}

class AutomatonCursor implements GrammarCursor {
  readonly #grammar: AutomatonGrammar;
  #state: State;
  /** An end-of-generation token was accepted: nothing but another one may follow. */
  #isEnded: boolean;

  constructor(grammar: AutomatonGrammar, state: State, isEnded: boolean) {
    this.#grammar = grammar;
    this.#state = state;
    this.#isEnded = isEnded;
  }

  get isComplete(): boolean {
    return this.#state.isComplete;
  }

  mask(): Uint32Array {
    if (this.#isEnded) return this.#grammar.endMask;
    this.#grammar.memory.settle();
    return this.#grammar.masks.mask(this.#state);
  }

  accept(token: number): boolean {
    const isEnd = this.#grammar.trie.endIds.includes(token);
    if (this.#isEnded) return isEnd;
    const next = this.#after(token);
    if (next !== null) this.#state = next;
    else if (isEnd && this.#state.isComplete) this.#isEnded = true;
    else return false;
    return true;
  }

  clone(): GrammarCursor {
    return new AutomatonCursor(this.#grammar, this.#state, this.#isEnded);
  }

  /** Demanded as it is, or as its bytes, or both. */
  #after(token: number): State | null {
    const asToken = open(this.#grammar.automaton.stepToken(this.#state, token));
    const asBytes = open(this.#afterBytes(token));
    if (asToken === null || asBytes === null) return asToken ?? asBytes;
    return this.#grammar.automaton.merge(asToken, asBytes);
  }

  #afterBytes(token: number): State | null {
    const { automaton, trie, tokenizer } = this.#grammar;
    if (!(trie.lengths[token]! > 0)) return null;
    const bytes = tokenizer.tokenBytes(token);
    let at: State | null = this.#state;
    for (const byte of bytes) {
      at = automaton.step(at, automaton.classOf[byte]!);
      if (at === null) break;
    }
    // A mask that was made before the first place was lost has the token all the same.
    if (open(at) === null && automaton.isPruned) return automaton.stepThrough(this.#state, bytes);
    return at;
  }
}

function open(state: State | null): State | null {
  return state?.isOpen ? state : null;
}
