/**
 * What is sent: prompts without meaning, of given lengths, the same for the same seed. "random": nothing in common.
 * "prefix": some prefixes, each shared by as many prompts as the others, in random order: what a prefix cache is for.
 */

export interface LoadRequest {
  /** Token ids, or numbers of words where the server takes no ids. */
  prompt: number[];
  outputTokens: number;
}

export interface Lengths {
  inputTokens: number;
  outputTokens: number;
  /** Lengths are uniform in [n · (1 − spread), n · (1 + spread)]. */
  spread: number;
}

export interface PrefixShape {
  numPrefixes: number;
  prefixTokens: number;
  suffixTokens: number;
}

/** Ids below are often control tokens, such as the end of the text. */
export const FIRST_TOKEN_ID = 10;

export interface PromptSource {
  /** Ids are from `FIRST_TOKEN_ID` to below this. */
  vocabSize: number;
  uniform: () => number;
}

export function randomRequests(numRequests: number, lengths: Lengths, source: PromptSource): LoadRequest[] {
  const length = (mean: number) => {
    const [low, high] = [mean * (1 - lengths.spread), mean * (1 + lengths.spread)].map(Math.round) as [number, number];
    return Math.max(1, below(high - low + 1, source) + low);
  };
  return Array.from({ length: numRequests }, () => ({
    prompt: tokenIds(length(lengths.inputTokens), source),
    outputTokens: length(lengths.outputTokens),
  }));
}

/** As many requests as are a multiple of the number of prefixes, at most `numRequests`. */
export function prefixRequests(
  numRequests: number,
  { numPrefixes, prefixTokens, suffixTokens }: PrefixShape,
  outputTokens: number,
  source: PromptSource,
): LoadRequest[] {
  const requests: LoadRequest[] = [];
  for (let i = 0; i < numPrefixes; i++) {
    const prefix = tokenIds(prefixTokens, source);
    for (let j = 0; j < Math.floor(numRequests / numPrefixes); j++) {
      requests.push({ prompt: [...prefix, ...tokenIds(suffixTokens, source)], outputTokens });
    }
  }
  return shuffled(requests, source);
}

const CONSONANTS = "bdfgklmnprstvz";
const VOWELS = "aeiou";

/** A word for each number: two syllables, a token or two in any vocabulary. */
export function wordsOf(numbers: readonly number[]): string {
  return numbers.map((number) => syllable(number) + syllable(Math.floor(number / SYLLABLES))).join(" ");
}

const SYLLABLES = CONSONANTS.length * VOWELS.length;

function syllable(number: number): string {
  const index = number % SYLLABLES;
  return CONSONANTS[Math.floor(index / VOWELS.length)]! + VOWELS[index % VOWELS.length]!;
}

function tokenIds(count: number, source: PromptSource): number[] {
  return Array.from({ length: count }, () => FIRST_TOKEN_ID + below(source.vocabSize - FIRST_TOKEN_ID, source));
}

function below(count: number, { uniform }: PromptSource): number {
  return Math.floor(uniform() * count);
}

/** Fisher and Yates. */
function shuffled<T>(list: readonly T[], source: PromptSource): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = below(i + 1, source);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
