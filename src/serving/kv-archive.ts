/**
 * Blocks kept outside of the pool, so that a conversation outlives the memory it was computed in. `saveBlocks` copies
 * the computed blocks of a token sequence out; `restoreBlocks` puts them back under their place in the prefix index,
 * where the ordinary match finds them, so that nobody after it knows which were computed and which were restored.
 *
 * Invariants:
 *  - a block is restored only behind a prefix that was found in the pool (where token ids are compared) or restored
 *    just now, and the archive compares its ids: a row of another text, or a damaged one, costs time and nothing else;
 *  - restoring takes free blocks as a prompt does: nothing is preempted, nothing that a sequence holds is touched, and
 *    it stops where none is free;
 *  - both run from end to end without an await, so that no step comes between finding a block and copying it.
 */
import type { Backend } from "./backend.ts";
import { hashSalt, hashTokens } from "./block-hash.ts";
import type { BlockManager } from "./block-manager.ts";

/**
 * Kept blocks, to be read. An archive belongs to one conversation, one model and one layout of blocks. A hash names a
 * block by its tokens and all before them; without the salt, because an archive has one tenant.
 */
export interface KvSource {
  /**
   * Called for one block after another, until it gives none.
   * @returns what was kept for exactly these tokens; null where nothing is, or nothing that can be trusted
   */
  read(index: number, hash: string, tokens: Int32Array<ArrayBuffer>): Uint8Array | null;
}

/** The same archive, to be written. */
export interface KvSink {
  has(index: number, hash: string): boolean;
  /** Keeps a block in place of what was kept at `index`. @returns false = it takes no more (for now) */
  write(index: number, hash: string, tokens: Int32Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer>): boolean;
}

/**
 * Archives the full blocks of `tokens` that the pool holds and the archive does not.
 * @returns how many blocks, counted from the first, the archive has now; what it keeps beyond them is of another text
 */
export function saveBlocks(
  blocks: BlockManager,
  backend: Backend,
  tokens: readonly number[],
  salt: string,
  archive: KvSink,
): number {
  const resident = blocks.match(sourceOf(tokens), salt, tokens.length);
  let numKept = 0;
  for (const { index, hash, ids } of chainOf(tokens, blocks.blockTokens)) {
    if (!archive.has(index, hash)) {
      if (index >= resident.numBlocks) break;
      if (!archive.write(index, hash, ids, backend.readBlock(resident.blocks[index]!))) break;
    }
    numKept = index + 1;
  }
  return numKept;
}

/**
 * Puts archived blocks of `tokens` back into the pool, behind what it still holds of them.
 * @returns number of blocks restored
 */
export function restoreBlocks(
  blocks: BlockManager,
  backend: Backend,
  tokens: readonly number[],
  salt: string,
  archive: KvSource,
): number {
  if (!blocks.prefixCache) return 0;
  const { blockTokens } = blocks;
  const source = sourceOf(tokens);
  // The last token is always computed, so a block that ends with it would not be used.
  const numTokensMax = tokens.length - 1;
  const match = blocks.match(source, salt, numTokensMax);
  const numResident = match.numBlocks;
  // Holds what is there and what is added: the end of a chain must not take the place of its beginning.
  const table = blocks.open(salt, match);
  try {
    for (const { index, hash, ids } of chainOf(tokens, blockTokens)) {
      const end = (index + 1) * blockTokens;
      if (end > numTokensMax) break;
      if (index < numResident) continue;
      const bytes = archive.read(index, hash, ids);
      if (bytes === null || !blocks.prepareWrite(table, end - blockTokens, end, [])) break;
      backend.writeBlock(table.at(index), bytes);
      blocks.commit(table, source, end);
    }
    return table.numIndexed - numResident;
  } finally {
    blocks.release(table);
  }
}

/** The full blocks of `tokens`, each with the hash of everything up to its end. */
function* chainOf(tokens: readonly number[], blockTokens: number) {
  const state = new Uint32Array(2);
  hashSalt(state, "");
  for (let index = 0; (index + 1) * blockTokens <= tokens.length; index++) {
    const ids = Int32Array.from(tokens.slice(index * blockTokens, (index + 1) * blockTokens));
    hashTokens(state, ids);
    yield { index, hash: hex(state[1]!) + hex(state[0]!), ids };
  }
}

function sourceOf(tokens: readonly number[]) {
  return { tokenAt: (position: number) => tokens[position]! };
}

function hex(lane: number): string {
  return lane.toString(16).padStart(8, "0");
}
