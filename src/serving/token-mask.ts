/** Sets of tokens as bits: bit t & 31 of word t >> 5 is set where token t is in it. Bits behind the vocabulary mean nothing. */

/** Words of a mask over a vocabulary. */
export const maskWords = (vocabSize: number): number => Math.ceil(vocabSize / 32);

/** Bits of the last word that stand for tokens. */
export const lastWordBits = (vocabSize: number): number => 0xffffffff >>> (-vocabSize & 31);

export function maskOf(tokens: Iterable<number>, vocabSize: number): Uint32Array {
  const mask = new Uint32Array(maskWords(vocabSize));
  for (const token of tokens) if (token >= 0 && token < vocabSize) mask[token >> 5]! |= 1 << (token & 31);
  return mask;
}

export function allMask(vocabSize: number): Uint32Array {
  const mask = new Uint32Array(maskWords(vocabSize)).fill(0xffffffff);
  mask[mask.length - 1] = lastWordBits(vocabSize);
  return mask;
}

export function allows(mask: Uint32Array, token: number): boolean {
  return ((mask[token >> 5]! >>> (token & 31)) & 1) === 1;
}

/** Is a token in it? */
export function allowsAny(mask: Uint32Array, vocabSize: number): boolean {
  const last = mask.length - 1;
  for (let i = 0; i < last; i++) if (mask[i] !== 0) return true;
  return (mask[last]! & lastWordBits(vocabSize)) !== 0;
}

/** Is every token of it in `others`? */
export function isWithin(mask: Uint32Array, others: Uint32Array): boolean {
  for (let i = 0; i < mask.length; i++) if ((mask[i]! & ~others[i]!) !== 0) return false;
  return true;
}

/** The only token of a mask; null where there are more, or none. */
export function onlyToken(mask: Uint32Array): number | null {
  let found: number | null = null;
  for (let i = 0; i < mask.length; i++) {
    const word = mask[i]!;
    if (word === 0) continue;
    if (found !== null || (word & (word - 1)) !== 0) return null;
    found = 32 * i + 31 - Math.clz32(word);
  }
  return found;
}

/** Takes every token of `others` out of `mask`. */
export function strike(mask: Uint32Array, others: Uint32Array): void {
  for (let i = 0; i < mask.length; i++) mask[i]! &= ~others[i]!;
}

/** Leaves those in `mask` that are in `others`, too. */
export function intersect(mask: Uint32Array, others: Uint32Array): void {
  for (let i = 0; i < mask.length; i++) mask[i]! &= others[i]!;
}
