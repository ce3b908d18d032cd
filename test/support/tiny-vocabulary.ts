/**
 * A byte-level BPE vocabulary small enough to read: the 256 byte symbols, a few English merges, the three tokens of
 * ChatML. Any text can be encoded, and common words take fewer tokens than bytes, so merges are really used.
 */
import { bool, i32s, string, strings, u32, type WriterValue } from "./gguf-writer.ts";

/** In rank order; "Ġ" is the symbol of a space. */
const MERGES = [
  ...["Ġ t", "h e", "Ġ a", "i n", "r e", "Ġt he", "o n", "Ġ s", "e r", "n d", "Ġ w", "o u", "Ġ o", "a t", "e n"],
  ...["Ġ c", "i s", "i t", "o r", "e s", "Ġ b", "Ġ p", "in g", "Ġ f", "a n", "Ġ m", "Ġt o", "a l", "e d", "Ġ in"],
  ...["Ġo f", "Ġa nd", "a r", "l l", "Ġ h", "Ġ d", "l e", "h a", "Ġ is", "Ġ l", "o m", "v e", "s t", "Ġ y", "Ġy ou"],
  ...["o k", "ok en", "Ġt oken", "H e", "He ll", "Hell o", "Ġ Ġ", "ĠĠ ĠĠ", "Ċ Ċ"],
];

export const TINY_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

export const TINY_VOCAB_SIZE = 256 + MERGES.length + TINY_SPECIALS.length;

export const TINY_CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const TOKEN_NORMAL = 1;
const TOKEN_CONTROL = 3;
const TOKEN_UNUSED = 5;

/** The printable stand-in of every byte, as GPT-2's encoder.py defines it. */
export function byteSymbols(): string[] {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++));
}

/** Tokenizer metadata. Ids past the vocabulary's own are unused tokens. */
export function tinyVocabulary(vocabSize: number): [string, WriterValue][] {
  if (vocabSize < TINY_VOCAB_SIZE) throw new Error(`vocabSize ${vocabSize} is under ${TINY_VOCAB_SIZE}`);
  const normal = [...byteSymbols(), ...MERGES.map((merge) => merge.replace(" ", ""))];
  const unused = Array.from({ length: vocabSize - TINY_VOCAB_SIZE }, (_, i) => `<|unused_${i}|>`);
  const types = [
    ...normal.map(() => TOKEN_NORMAL),
    ...TINY_SPECIALS.map(() => TOKEN_CONTROL),
    ...unused.map(() => TOKEN_UNUSED),
  ];
  const endOfText = normal.length;
  return [
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.pre", string("gpt-2")],
    ["tokenizer.ggml.tokens", strings([...normal, ...TINY_SPECIALS, ...unused])],
    ["tokenizer.ggml.token_type", i32s(types)],
    ["tokenizer.ggml.merges", strings(MERGES)],
    ["tokenizer.ggml.bos_token_id", u32(endOfText)],
    ["tokenizer.ggml.eos_token_id", u32(endOfText + 2)],
    ["tokenizer.ggml.add_bos_token", bool(false)],
    ["tokenizer.chat_template", string(TINY_CHAT_TEMPLATE)],
  ];
}
