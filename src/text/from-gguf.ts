/**
 * A tokenizer from the metadata of a GGUF file. `tokenizer.ggml.model` names the algorithm: "gpt2" is byte-level BPE
 * with a merge table and a named split rule, "llama" is SentencePiece BPE by score. Same ids as llama.cpp.
 */
import { ModelError } from "../model/errors.ts";
import type { GgufHeader } from "../model/gguf.ts";
import { BPE_SPLIT_RULES, type BpeSplitRule } from "./bpe-split-rules.ts";
import { TokenizerMetadata } from "./gguf-metadata.ts";
import { endOfGenerationByText, markKnownControl } from "./known-tokens.ts";
import { buildLibraryModel, type LibraryParts } from "./library-model.ts";
import { LibraryTokenizer } from "./library-tokenizer.ts";
import { rankedMerges } from "./merge-table.ts";
import { mergesByScore } from "./spm-merges.ts";
import {
  idsByText,
  isStructureKind,
  mergeableIds,
  type SpecialToken,
  TOKEN_KIND,
  type Vocabulary,
} from "./vocabulary.ts";

const PREFIX = "tokenizer.ggml.";
const MODELS = ["gpt2", "llama"] as const;

/** What the algorithm decides where the file is silent. */
interface Defaults {
  bosId: number | null;
  eosId: number | null;
  addBos: boolean;
  addsSpacePrefix: boolean;
}

/** Throws `ModelError`: a tokenizer that is not known here (named), or keys that are missing or contradict each other. */
export function fromGguf(header: Pick<GgufHeader, "metadata">): LibraryTokenizer {
  const metadata = new TokenizerMetadata(header.metadata);
  const model = metadata.string(`${PREFIX}model`);
  if (model === null) {
    throw new ModelError("missing", `The file has no '${PREFIX}model', so its text cannot be tokenized.`);
  }
  switch (model) {
    case "gpt2":
      return byteLevel(metadata);
    case "llama":
      return sentencePiece(metadata);
    default:
      throw new ModelError("unsupported_type", `Tokenizer '${model}' is not supported. Known: ${MODELS.join(", ")}.`);
  }
}

function byteLevel(metadata: TokenizerMetadata): LibraryTokenizer {
  const rule = splitRule(metadata.string(`${PREFIX}pre`) ?? "default");
  const vocabulary = readVocabulary(metadata, "byte-level", {
    bosId: null,
    eosId: null,
    addBos: rule.addBos,
    addsSpacePrefix: false,
  });
  const split = rule.patterns.map((pattern) => ({
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  }));
  const ids = mergeableIds(vocabulary);
  return build(vocabulary, {
    normalizer: null,
    preTokenizer: { type: "Sequence", pretokenizers: [...split, { type: "ByteLevel", use_regex: false }] },
    ids,
    merges: rankedMerges(metadata.strings(`${PREFIX}merges`), ids, `${PREFIX}merges`),
    ignoreMerges: rule.ignoreMerges,
    byteFallback: false,
    unknown: null,
  });
}

function sentencePiece(metadata: TokenizerMetadata): LibraryTokenizer {
  const vocabulary = readVocabulary(metadata, "sentencepiece", {
    bosId: 1,
    eosId: 2,
    addBos: true,
    addsSpacePrefix: true,
  });
  const numTokens = vocabulary.tokens.length;
  const scores = metadata.numbersPerToken(`${PREFIX}scores`, numTokens);
  if (scores === null) throw new ModelError("missing", `A 'llama' tokenizer needs '${PREFIX}scores'.`);
  const unknownId = metadata.tokenId(`${PREFIX}unknown_token_id`, numTokens) ?? 0;
  const ids = mergeableIds(vocabulary);
  const parts: LibraryParts = {
    normalizer: { type: "Replace", pattern: { String: " " }, content: "\u2581" },
    preTokenizer: null,
    ids,
    // Only normal tokens: "</s>" in a text must not become the control token, though its pieces would join to it.
    merges: mergesByScore(new Map([...ids].filter(([, id]) => vocabulary.kinds[id] === TOKEN_KIND.NORMAL)), scores),
    ignoreMerges: false,
    byteFallback: true,
    unknown: { text: vocabulary.tokens[unknownId] ?? "", id: unknownId },
  };
  return build(vocabulary, parts);
}

function build(vocabulary: Vocabulary, parts: LibraryParts): LibraryTokenizer {
  return new LibraryTokenizer(vocabulary, buildLibraryModel(parts));
}

function splitRule(name: string): BpeSplitRule {
  const rule = BPE_SPLIT_RULES.get(name);
  if (rule !== undefined) return rule;
  const known = [...BPE_SPLIT_RULES.keys()].join(", ");
  throw new ModelError("unsupported_type", `Pre-tokenizer '${name}' (${PREFIX}pre) is not supported. Known: ${known}.`);
}

function readVocabulary(metadata: TokenizerMetadata, alphabet: Vocabulary["alphabet"], defaults: Defaults): Vocabulary {
  const tokens = metadata.strings(`${PREFIX}tokens`);
  const ids = idsByText(tokens);
  const tokenId = (name: string) => metadata.tokenId(`${PREFIX}${name}_token_id`, tokens.length);
  const bosId = tokenId("bos") ?? defaults.bosId;
  const eosId = tokenId("eos") ?? defaults.eosId;
  const ends = [eosId, tokenId("eot"), tokenId("eom"), ...endOfGenerationByText(ids)].filter((id) => id !== null);
  const kinds = readKinds(metadata, tokens.length);
  markKnownControl(ids, kinds);
  const addBos = metadata.boolean(`${PREFIX}add_bos_token`) ?? defaults.addBos;
  const addEos = metadata.boolean(`${PREFIX}add_eos_token`) ?? false;
  if (addBos && bosId === null) throw missingId("add_bos_token", "bos_token_id");
  if (addEos && eosId === null) throw missingId("add_eos_token", "eos_token_id");
  const addsSpacePrefix = metadata.boolean(`${PREFIX}add_space_prefix`) ?? defaults.addsSpacePrefix;
  return {
    tokens,
    kinds,
    alphabet,
    special: specialTokens(tokens, kinds, /phi-?3/i.test(metadata.string("general.name") ?? "")),
    spacePrefix: { where: addsSpacePrefix ? "always" : "never", unlessPresent: false },
    bosId,
    eosId,
    addBos,
    addEos,
    endOfGenerationIds: new Set(ends),
  };
}

function readKinds(metadata: TokenizerMetadata, numTokens: number): Uint8Array {
  const types = metadata.numbersPerToken(`${PREFIX}token_type`, numTokens);
  if (types === null) return new Uint8Array(numTokens).fill(TOKEN_KIND.NORMAL);
  return Uint8Array.from({ length: numTokens }, (_, id) => types[id]!);
}

/** @param stripsAfter Phi-3's control tokens swallow the white space after them, which GGUF has no key for */
function specialTokens(tokens: readonly string[], kinds: Uint8Array, stripsAfter: boolean): SpecialToken[] {
  const special: SpecialToken[] = [];
  for (const [id, text] of tokens.entries()) {
    const kind = kinds[id];
    const isStructure = isStructureKind(kind);
    if (!isStructure && kind !== TOKEN_KIND.USER_DEFINED) continue;
    const keepsSpace = text === "<unk>" || text === "<s>" || text === "<|endoftext|>";
    special.push({ id, text, isStructure, stripsBefore: false, stripsAfter: stripsAfter && !keepsSpace });
  }
  return special;
}

function missingId(flag: string, key: string): ModelError {
  return new ModelError("missing", `'${PREFIX}${flag}' is true, but the file has no valid '${PREFIX}${key}'.`);
}
