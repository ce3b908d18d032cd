/**
 * The hash that names a KV block by its content: H(block) folds the block's token ids into its parent's hash, and the
 * first block's parent is a hash of the cache salt. Equal hashes so mean "same salt and same tokens from position 0",
 * which is the condition under which two sequences have the same keys and values in that block.
 *
 * 64 bits in two u32 lanes, because BigInt would allocate for each token. The mixing is MurmurHash3's (A. Appleby,
 * public domain): multiply, rotate, multiply, with the lanes fed into each other. It is fast, not cryptographic, and
 * nothing relies on it for correctness: `PrefixIndex` compares the tokens themselves after each hit.
 */

/** Folds `tokens` into `state` (two u32 lanes), in place. */
export type TokenHash = (state: Uint32Array, tokens: ArrayLike<number>) => void;

const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** MurmurHash3's finalizer: a bijection of u32 in which each input bit flips half of the output bits. */
export function fmix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

export const hashTokens: TokenHash = (state, tokens) => {
  let lo = state[0]!;
  let hi = state[1]!;
  for (let i = 0; i < tokens.length; i++) {
    const k = Math.imul(rotateLeft(Math.imul(tokens[i]!, C1), 15), C2);
    lo = Math.imul(rotateLeft(lo ^ k, 13) + hi, 5) + 0xe6546b64;
    hi = Math.imul(rotateLeft(hi ^ Math.imul(k, C1), 17) + lo, 5) + 0x38b34ae5;
  }
  // The length keeps a block apart from the same tokens cut elsewhere; the finalizers spread the last tokens' bits.
  lo = fmix32(lo ^ tokens.length);
  hi = fmix32(hi ^ lo);
  state[0] = (lo + hi) >>> 0;
  state[1] = hi;
};

/** The hash a sequence's first block has as its parent. */
export function hashSalt(state: Uint32Array, salt: string): void {
  let lo = 0x9e3779b9;
  let hi = 0x7f4a7c15;
  for (let i = 0; i < salt.length; i++) {
    lo = fmix32(lo ^ salt.charCodeAt(i));
    hi = fmix32(hi + lo);
  }
  state[0] = lo;
  state[1] = hi;
}
