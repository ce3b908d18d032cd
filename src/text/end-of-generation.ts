/**
 * Tokens after which a model has nothing more to say. Files name one or two of them and chat models often use another
 * one, so the texts that model families use for it count too, as in llama.cpp (src/llama-vocab.cpp, `special_eog_ids`).
 * A token with such a text is a control token even where the file forgot to say so.
 */
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

/** Ids whose text ends a generation. */
export function endOfGenerationByText(ids: ReadonlyMap<string, number>): number[] {
  const isHarmony = HARMONY_TEXTS.every((text) => ids.has(text));
  return [...END_TEXTS]
    .filter((text) => ids.has(text) && !(isHarmony && text === "<|end|>"))
    .map((text) => ids.get(text)!);
}
