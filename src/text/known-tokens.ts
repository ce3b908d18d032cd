/**
 * Tokens known by their text, because files say too little about them; as in llama.cpp (src/llama-vocab.cpp).
 *
 * End of generation: files name one or two such tokens and chat models often use another one. Filling in the middle:
 * files often call its tokens user-defined, which would let any text contain them. All of these are control tokens.
 */
import { TOKEN_KIND } from "./vocabulary.ts";

const END_TEXTS: ReadonlySet<string> = new Set([
  "</s>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<end_of_turn>",
  "<end_of_utterance>",
  "<eos>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "<｜end▁of▁sentence｜>",
]);

/** Where both are tokens, a message ends with `<|end|>` and the answer goes on (the Harmony format). */
const HARMONY_TEXTS = ["<|return|>", "<|call|>"];

const FILL_IN_MIDDLE_TEXTS: readonly string[] = [
  ..."<|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|fim_pad|> <|fim_repo|> <|file_sep|> <|repo_name|>".split(" "),
  ..."<fim-prefix> <fim-suffix> <fim-middle> <fim-pad> <fim_prefix> <fim_suffix> <fim_middle> <fim_pad>".split(" "),
  ..."<｜fim▁begin｜> <｜fim▁hole｜> <｜fim▁end｜> <PRE> <SUF> <MID> ▁<PRE> ▁<SUF> ▁<MID>".split(" "),
];

/** Ids whose text ends a generation. */
export function endOfGenerationByText(ids: ReadonlyMap<string, number>): number[] {
  const isHarmony = HARMONY_TEXTS.every((text) => ids.has(text));
  return [...END_TEXTS]
    .filter((text) => ids.has(text) && !(isHarmony && text === "<|end|>"))
    .map((text) => ids.get(text)!);
}

/** Makes control tokens of the tokens known by their text. Changes `kinds`. */
export function markKnownControl(ids: ReadonlyMap<string, number>, kinds: Uint8Array): void {
  for (const id of endOfGenerationByText(ids)) kinds[id] = TOKEN_KIND.CONTROL;
  for (const text of FILL_IN_MIDDLE_TEXTS) {
    const id = ids.get(text);
    if (id !== undefined && kinds[id] === TOKEN_KIND.USER_DEFINED) kinds[id] = TOKEN_KIND.CONTROL;
  }
}
