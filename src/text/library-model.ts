/**
 * `@huggingface/tokenizers` as the engine of `encode()`: its normalizer, pre-tokenizer and BPE model, built from the
 * parts of a tokenizer.json. Special tokens, BOS/EOS and space prefixes are handled outside (`library-tokenizer.ts`),
 * because they depend on who wrote the text.
 *
 * Memory: a Worker isolate has 128 MB for everything. Given a whole tokenizer.json the library keeps the vocabulary
 * object, an array of merge pairs and a map of each; here only the two maps that encoding reads are filled. Heap that
 * stays, in Node 24, token texts included: 7 MB instead of 18 for 49 152 tokens, 36 instead of 84 for 128 256
 * (scripts/verify-vocab.ts --memory).
 */
import { BPE, Tokenizer as Library } from "@huggingface/tokenizers";
import { ModelError } from "../model/errors.ts";
import type { RankedMerge } from "./merge-table.ts";

export interface LibraryParts {
  /** `normalizer` and `pre_tokenizer` of a tokenizer.json. */
  normalizer: object | null;
  preTokenizer: object | null;
  ids: Map<string, number>;
  /** Merge pairs with their rank: the lowest rank merges first, the leftmost of equal ones. */
  merges: Iterable<RankedMerge>;
  ignoreMerges: boolean;
  /** Characters without a token become their `<0xNN>` byte tokens. */
  byteFallback: boolean;
  /** Stands for text that has neither; without one such text is lost. */
  unknown: { text: string; id: number } | null;
}

/** Words remembered with their merges. The library's 10 000 of up to 256 characters could take over 10 MB. */
const WORD_CACHE_ENTRIES = 2_000;
const WORD_CACHE_LENGTH = 32;

export type EncodeText = (text: string) => number[];

/**
 * Returns the encoder of ordinary text: no special tokens, nothing added.
 * @throws ModelError where the library does not know a step of the pipeline
 */
export function buildLibraryModel(parts: LibraryParts): EncodeText {
  const library = build(parts);
  const model = library.model;
  if (!(model instanceof BPE)) throw new TypeError("The tokenizer library built no BPE model.");
  model.tokens_to_ids = parts.ids;
  for (const [left, right, rank] of parts.merges) model.bpe_ranks.set(JSON.stringify([left, right]), rank);
  Object.assign(model.cache, { capacity: WORD_CACHE_ENTRIES });
  model.max_length_to_cache = WORD_CACHE_LENGTH;
  return (text) => library.encode(text, { add_special_tokens: false }).ids;
}

function build({ normalizer, preTokenizer, unknown, ignoreMerges, byteFallback }: LibraryParts): Library {
  const model = {
    type: "BPE",
    vocab: unknown === null ? {} : { [unknown.text]: unknown.id },
    merges: [],
    ignore_merges: ignoreMerges,
    byte_fallback: byteFallback,
    unk_token: unknown?.text ?? null,
  };
  const file = {
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: null,
    added_tokens: [],
    model,
  };
  try {
    return new Library(file, {});
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ModelError("unsupported_type", `The tokenizer of the model cannot be built: ${reason}`, { cause });
  }
}
