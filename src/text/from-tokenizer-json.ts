/**
 * A tokenizer from Hugging Face's `tokenizer.json` (BPE models) and, where there is one, `tokenizer_config.json`.
 * Normalizer, pre-tokenizer and merging are the library's own; what depends on where a text begins (space prefixes) or
 * on who wrote it (added tokens) is taken out of the file's pipeline and done by `LibraryTokenizer`.
 *
 * Limits: added tokens are matched in the text as it was written, before normalization, also where the file says
 * `normalized: true`.
 */
import { ModelError } from "../model/errors.ts";
import { endOfGenerationByText, markKnownControl } from "./known-tokens.ts";
import { buildLibraryModel } from "./library-model.ts";
import { LibraryTokenizer } from "./library-tokenizer.ts";
import { rankedMerges } from "./merge-table.ts";
import { takeSpacePrefix } from "./space-prefix.ts";
import { byteOfToken } from "./token-bytes.ts";
import {
  type AddedToken,
  addedTokensOf,
  type BpeModel,
  bpeModelOf,
  hasStep,
  isObject,
  type JsonObject,
} from "./tokenizer-json.ts";
import { idsByText, mergeableIds, type SpecialToken, TOKEN_KIND, type Vocabulary } from "./vocabulary.ts";

/**
 * @param file parsed tokenizer.json
 * @param config parsed tokenizer_config.json
 * @throws ModelError `corrupt` for what is no tokenizer.json, `unsupported_type` (named) for what is not read here
 */
export function fromTokenizerJson(file: unknown, config: unknown = {}): LibraryTokenizer {
  if (!isObject(file)) throw new ModelError("corrupt", "tokenizer.json holds no object.");
  if (!isObject(config)) throw new ModelError("corrupt", "tokenizer_config.json holds no object.");
  const model = bpeModelOf(file);
  const added = addedTokensOf(file);
  const { tokens, kinds } = readTokens(model, added);
  const ids = idsByText(tokens);
  const { normalizer, preTokenizer, spacePrefix } = takeSpacePrefix(file.normalizer, file.pre_tokenizer);
  const isByteLevel = hasStep(file.pre_tokenizer, "ByteLevel") || hasStep(file.decoder, "ByteLevel");
  const vocabulary: Vocabulary = {
    tokens,
    kinds,
    alphabet: isByteLevel ? "byte-level" : "sentencepiece",
    special: added.map((token) => specialToken(token, kinds)),
    spacePrefix,
    ...boundaries(file.post_processor, config, ids),
  };
  const mergeable = mergeableIds(vocabulary);
  const unknownId = model.unknownToken === null ? undefined : ids.get(model.unknownToken);
  const encodeText = buildLibraryModel({
    normalizer,
    preTokenizer,
    ids: mergeable,
    merges: rankedMerges(model.merges, mergeable, "tokenizer.json: model.merges"),
    ignoreMerges: model.ignoreMerges,
    byteFallback: model.byteFallback,
    unknown: unknownId === undefined ? null : { text: tokens[unknownId]!, id: unknownId },
  });
  return new LibraryTokenizer(vocabulary, encodeText);
}

function readTokens(model: BpeModel, added: readonly AddedToken[]): { tokens: string[]; kinds: Uint8Array } {
  const vocab = Object.entries(model.vocab);
  const vocabSize =
    1 +
    Math.max(
      -1,
      ...added.map(({ id }) => id),
      vocab.reduce((max, [, id]) => Math.max(max, id), -1),
    );
  const tokens: string[] = new Array(vocabSize).fill("");
  const kinds = new Uint8Array(vocabSize).fill(TOKEN_KIND.UNUSED);
  for (const [text, id] of vocab) {
    tokens[id] = text;
    kinds[id] = model.byteFallback && byteOfToken(text) !== null ? TOKEN_KIND.BYTE : TOKEN_KIND.NORMAL;
    if (text === model.unknownToken) kinds[id] = TOKEN_KIND.UNKNOWN;
  }
  for (const { id, text, isSpecial } of added) {
    tokens[id] = text;
    kinds[id] = isSpecial ? TOKEN_KIND.CONTROL : TOKEN_KIND.USER_DEFINED;
  }
  markKnownControl(new Map(added.map(({ id, text }) => [text, id])), kinds);
  return { tokens, kinds };
}

function specialToken({ id, text, stripsBefore, stripsAfter }: AddedToken, kinds: Uint8Array): SpecialToken {
  return { id, text, isStructure: kinds[id] === TOKEN_KIND.CONTROL, stripsBefore, stripsAfter };
}

type Boundaries = Pick<Vocabulary, "bosId" | "eosId" | "addBos" | "addEos" | "endOfGenerationIds">;

/** BOS and EOS by the post-processor, where tokenizer_config.json does not say otherwise. */
function boundaries(postProcessor: unknown, config: JsonObject, ids: ReadonlyMap<string, number>): Boundaries {
  const around = tokensAround(postProcessor);
  const bosId = ids.get(tokenName(config.bos_token) ?? around.before ?? "") ?? null;
  const eosId = ids.get(tokenName(config.eos_token) ?? around.after ?? "") ?? null;
  const flag = (key: string) => (typeof config[key] === "boolean" ? config[key] : null);
  const ends = [...(eosId === null ? [] : [eosId]), ...endOfGenerationByText(ids)];
  return {
    bosId,
    eosId,
    addBos: bosId !== null && (flag("add_bos_token") ?? around.before !== null),
    addEos: eosId !== null && (flag("add_eos_token") ?? around.after !== null),
    endOfGenerationIds: new Set(ends),
  };
}

/** Special tokens that a post-processor puts before and after a single text. */
function tokensAround(postProcessor: unknown): { before: string | null; after: string | null } {
  if (!isObject(postProcessor)) return { before: null, after: null };
  const { type, single, processors, cls, sep } = postProcessor;
  if (type === "Sequence" && Array.isArray(processors)) {
    const found = processors.map(tokensAround);
    return {
      before: found.find(({ before }) => before !== null)?.before ?? null,
      after: found.find(({ after }) => after !== null)?.after ?? null,
    };
  }
  if (type === "TemplateProcessing" && Array.isArray(single)) {
    return { before: templateToken(single[0]), after: templateToken(single.at(-1)) };
  }
  if ((type === "BertProcessing" || type === "RobertaProcessing") && Array.isArray(cls) && Array.isArray(sep)) {
    return { before: String(cls[0]), after: String(sep[0]) };
  }
  return { before: null, after: null };
}

function templateToken(item: unknown): string | null {
  const special = isObject(item) ? item.SpecialToken : null;
  return isObject(special) && typeof special.id === "string" ? special.id : null;
}

/** tokenizer_config.json names a token by its text or by an object with it. */
export function tokenName(value: unknown): string | null {
  if (typeof value === "string") return value;
  return isObject(value) && typeof value.content === "string" ? value.content : null;
}
