/**
 * A byte-level BPE vocabulary of any size, for models with random weights: 256 byte symbols, then merges of printable
 * ASCII, shortest first, then three control tokens. Its merge list is as long as a real one, so that a tokenizer built
 * from it takes as much memory, and both this project and llama.cpp accept it.
 */

export interface DummyVocabulary {
  tokens: string[];
  /** 1 normal, 3 control. */
  types: number[];
  merges: string[];
  endOfTextId: number;
}

const CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const [NORMAL, CONTROL] = [1, 3];

/** @param size at least 256 + the three control tokens */
export function dummyVocabulary(size: number): DummyVocabulary {
  const numPlain = size - CONTROL_TOKENS.length;
  if (numPlain < 256) throw new RangeError(`A vocabulary of ${size} has no room for 256 bytes and 3 control tokens.`);
  const tokens = byteSymbols();
  const letters = tokens.slice(0, 94);
  const merges: string[] = [];
  for (let shorter = letters; tokens.length < numPlain; ) {
    const longer: string[] = [];
    for (const left of shorter) {
      for (const right of letters) {
        if (tokens.length === numPlain) break;
        tokens.push(left + right);
        longer.push(left + right);
        merges.push(`${left} ${right}`);
      }
    }
    shorter = longer;
  }
  const types = [...tokens.map(() => NORMAL), ...CONTROL_TOKENS.map(() => CONTROL)];
  return { tokens: [...tokens, ...CONTROL_TOKENS], types, merges, endOfTextId: numPlain };
}

/** GPT-2's byte alphabet: printable bytes stand for themselves, the others for U+0100 and up, in order. */
function byteSymbols(): string[] {
  const isPrintable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const printable = bytes.filter(isPrintable).map((byte) => String.fromCodePoint(byte));
  const others = bytes.filter((byte) => !isPrintable(byte)).map((_, i) => String.fromCodePoint(256 + i));
  return [...printable, ...others];
}
