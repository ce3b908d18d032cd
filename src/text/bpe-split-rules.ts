/**
 * How byte-level BPE cuts text into words before merging. GGUF only names the rule (`tokenizer.ggml.pre`); the rules are
 * the regular expressions of the models' own tokenizers, as llama.cpp reads the names (src/llama-vocab.cpp). Several
 * patterns mean stages: each cuts the pieces of the one before, and what a pattern does not match stays a piece.
 *
 * Contractions are written out (`'[sS]`) because case folding with the `u` flag would also match U+017F.
 */
export interface BpeSplitRule {
  patterns: readonly string[];
  /** A whole word that is in the vocabulary is taken without running merges. */
  ignoreMerges: boolean;
  /** BOS goes in front unless the file says otherwise. */
  addBos: boolean;
}

const CONTRACTIONS = "'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";
const LETTERS = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const SYMBOLS = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const SPACES = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/** Runs of letters that change from upper to lower case at most once. */
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const CASED = (suffix: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*${suffix}`;
const CASED_SYMBOLS = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*";

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LLAMA3 = `${CONTRACTIONS}|${LETTERS}|\\p{N}{1,3}|${SYMBOLS}|${SPACES}`;
const QWEN2 = `${CONTRACTIONS}|${LETTERS}|\\p{N}|${SYMBOLS}|${SPACES}`;
const QWEN35 = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${SPACES}`;
const TEKKEN = `${CASED("")}|\\p{N}|${CASED_SYMBOLS}|${SPACES}`;
const GPT4O = `${CASED(`(?:${CONTRACTIONS})?`)}|\\p{N}{1,3}|${CASED_SYMBOLS}|${SPACES}`;
const BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+";
const DEEPSEEK_V3 = [
  "\\p{N}{1,3}",
  "[一-龥\u3040-\u309f\u30a0-\u30ff]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" +
    `| ?[\\p{P}\\p{S}]+[\\r\\n]*|${SPACES}`,
];
const DEEPSEEK_CODER = ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥\u0800-一가-\ud7ff]+", "\\p{N}"];

/** [names, patterns, flags]; a name that is not here is refused. */
const TABLE: [names: string, patterns: readonly string[], flags?: Partial<Omit<BpeSplitRule, "patterns">>][] = [
  ["default", ["[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"]],
  ["gpt-2 mpt olmo phi-2 exaone4 jais trillion granite-docling gigachat a.x-4.0 mellum", [GPT2]],
  ["starcoder refact smollm command-r codeshell exaone minerva-7b", ["\\p{N}", GPT2]],
  ["llama-bpe llama3 llama-v3 lfm2 falcon3 falcon-h1 pixtral", [LLAMA3], { ignoreMerges: true, addBos: true }],
  ["dbrx smaug-bpe glm4 chatglm-bpe", [LLAMA3]],
  ["qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan", [QWEN2]],
  ["qwen35", [QWEN35]],
  ["tekken", [TEKKEN], { ignoreMerges: true, addBos: true }],
  ["gpt-4o llama4", [GPT4O]],
  ["falcon", ["[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"]],
  ["bloom poro-chat gpt3-finnish", [BLOOM]],
  ["viking", [BLOOM, "\\p{N}"]],
  ["deepseek-v3", DEEPSEEK_V3],
  ["deepseek-coder", DEEPSEEK_CODER],
];

/** Split rule by its name in `tokenizer.ggml.pre`. */
export const BPE_SPLIT_RULES: ReadonlyMap<string, BpeSplitRule> = new Map(
  TABLE.flatMap(([names, patterns, flags]) =>
    names
      .split(" ")
      .map((name): [string, BpeSplitRule] => [name, { patterns, ignoreMerges: false, addBos: false, ...flags }]),
  ),
);
