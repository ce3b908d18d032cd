/** The parts of a tokenizer.json that are read here, checked. Format: huggingface/tokenizers, as its own files show. */
import { ModelError } from "../model/errors.ts";

export type JsonObject = Record<string, unknown>;

export interface BpeModel {
  vocab: Record<string, number>;
  merges: readonly unknown[];
  ignoreMerges: boolean;
  byteFallback: boolean;
  unknownToken: string | null;
}

export interface AddedToken {
  id: number;
  text: string;
  isSpecial: boolean;
  stripsBefore: boolean;
  stripsAfter: boolean;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function bpeModelOf(file: JsonObject): BpeModel {
  const model = file.model;
  if (!isObject(model)) throw new ModelError("corrupt", "tokenizer.json has no 'model'.");
  // Early files have no type; only BPE models have merges.
  const type = model.type ?? ("merges" in model ? "BPE" : "unknown");
  if (type !== "BPE") throw unsupported(`tokenizer.json: the model '${type}' is not supported. Known: BPE.`);
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[key]) throw unsupported(`tokenizer.json: model.${key} (${JSON.stringify(model[key])}) is not supported.`);
  }
  const { vocab, merges } = model;
  if (!isObject(vocab)) throw new ModelError("corrupt", "tokenizer.json: model.vocab is no object.");
  if (!Array.isArray(merges)) throw new ModelError("corrupt", "tokenizer.json: model.merges is no array.");
  return {
    vocab: checkedIds(vocab),
    merges,
    ignoreMerges: model.ignore_merges === true,
    byteFallback: model.byte_fallback === true,
    unknownToken: typeof model.unk_token === "string" ? model.unk_token : null,
  };
}

export function addedTokensOf(file: JsonObject): AddedToken[] {
  const added = file.added_tokens ?? [];
  if (!Array.isArray(added)) throw new ModelError("corrupt", "tokenizer.json: added_tokens is no array.");
  return added.map((token: unknown) => {
    const { id, content, special, lstrip, rstrip, single_word } = isObject(token) ? token : {};
    if (!isTokenId(id) || typeof content !== "string" || content === "") {
      throw new ModelError("corrupt", `tokenizer.json: ${JSON.stringify(token)} in added_tokens is no token.`);
    }
    if (single_word === true) {
      throw unsupported(`tokenizer.json: the added token ${JSON.stringify(content)} wants single_word.`);
    }
    return {
      id,
      text: content,
      isSpecial: special === true,
      stripsBefore: lstrip === true,
      stripsAfter: rstrip === true,
    };
  });
}

/** True if a pipeline has a step of this type, at any depth of its sequences. */
export function hasStep(pipeline: unknown, type: string): boolean {
  if (!isObject(pipeline)) return false;
  const steps = pipeline.pretokenizers ?? pipeline.decoders ?? pipeline.normalizers;
  return pipeline.type === type || (Array.isArray(steps) && steps.some((step) => hasStep(step, type)));
}

/** No vocabulary is larger; a wild id would make an array of its size. */
const TOKEN_ID_MAX = (1 << 21) - 1;

function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= TOKEN_ID_MAX;
}

function checkedIds(vocab: JsonObject): Record<string, number> {
  for (const text in vocab) {
    if (isTokenId(vocab[text])) continue;
    throw new ModelError(
      "corrupt",
      `tokenizer.json: ${JSON.stringify(text)} has the id ${JSON.stringify(vocab[text])}.`,
    );
  }
  return vocab as Record<string, number>;
}

function unsupported(message: string): ModelError {
  return new ModelError("unsupported_type", message);
}
