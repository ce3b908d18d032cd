/**
 * Blocks kept outside of the pool, so that a conversation outlives the memory it was computed in. `saveBlocks` copies
 * the computed blocks of a token sequence out; `restoreBlocks` puts them back under their place in the prefix index,
 * where the ordinary match finds them, so that nobody after it knows which were computed and which were restored.
 * Both move a few blocks at a call, because running streams wait meanwhile; a caller with more comes back.
 *
 * Invariants:
 *  - a block is restored only behind a prefix that was found in the pool (where token ids are compared) or restored
 *    just now, and the archive compares its ids: a row of another text, or a damaged one, costs time and nothing else;
 *  - restoring takes free blocks as a prompt does: nothing is preempted, nothing that a sequence holds is touched, and
 *    it stops where none is free;
 *  - each call runs from end to end without an await, so that no step comes between finding a block and copying it.
 */
import type { Backend } from "./backend.ts";
import { hashSalt, hashTokens } from "./block-hash.ts";
import type { BlockManager, TokenSource } from "./block-manager.ts";

/** A full block's place in a conversation. */
export interface KvBlock {
  index: number;
  /** Names the block by its tokens and all before them; without the salt, because an archive has one tenant. */
  hash: string;
  ids: Int32Array<ArrayBuffer>;
}

/** Kept blocks, to be read. An archive belongs to one conversation, one model and one layout of blocks. */
export interface KvSource {
  /**
   * @param blocks at least one, one behind the other
   * @returns what was kept for exactly these tokens, up to the first block of which nothing is, or nothing to be trusted;
   * few are in memory together
   */
  read(blocks: readonly KvBlock[]): Iterable<Uint8Array>;
}

/** The same archive, to be written. */
export interface KvSink {
  has(index: number, hash: string): boolean;
  /** Keeps a block in place of what was kept at `index`. @returns false = it takes no more (for now) */
  write(index: number, hash: string, tokens: Int32Array<ArrayBuffer>, bytes: Uint8Array<ArrayBuffer>): boolean;
}

export interface SaveProgress {
  /** Blocks that the archive has now, counted from the first. */
  numKept: number;
  /** Blocks that were written by this call. */
  numWritten: number;
  /** false = there is more to write. When it is whole, what the archive keeps beyond `numKept` is of another text. */
  isWhole: boolean;
  /** Blocks of the pool that the archive has, too. Valid until the next `match`. */
  resident: Int32Array;
}

export interface RestoreProgress {
  /** Blocks that were restored by this call. */
  numRestored: number;
  /** false = there is nothing more to restore, or nothing that can be trusted. */
  hasMore: boolean;
}

/** Archives full blocks of `tokens` that the pool holds and the archive does not, at most `numBlocksMax` of them. */
export function saveBlocks(
  blocks: BlockManager,
  backend: Backend,
  tokens: readonly number[],
  salt: string,
  archive: KvSink,
  numBlocksMax: number,
): SaveProgress {
  const source = { tokenAt: (position: number) => tokens[position]! };
  const match = blocks.match(source, salt, tokens.length);
  let [numKept, numWritten, isWhole] = [0, 0, true];
  for (const { index, hash, ids } of chainOf(source, tokens.length, blocks.blockTokens)) {
    if (!archive.has(index, hash)) {
      if (index >= match.numBlocks) break;
      isWhole = numWritten < numBlocksMax;
      if (!isWhole || !archive.write(index, hash, ids, readAtOnce(backend, match.blocks[index]!))) break;
      numWritten++;
    }
    numKept = index + 1;
  }
  return { numKept, numWritten, isWhole, resident: match.blocks.subarray(0, Math.min(numKept, match.numBlocks)) };
}

/**
 * Puts archived blocks back into the pool, at most `numBlocksMax` of them, behind what it still holds.
 * @param numTokensMax of `source` that may come from the archive
 */
export function restoreBlocks(
  blocks: BlockManager,
  backend: Backend,
  source: TokenSource,
  numTokensMax: number,
  salt: string,
  archive: KvSource,
  numBlocksMax: number,
): RestoreProgress {
  if (!blocks.prefixCache) return { numRestored: 0, hasMore: false };
  const { blockTokens } = blocks;
  const match = blocks.match(source, salt, numTokensMax);
  const numResident = match.numBlocks;
  // Holds what is there and what is added: the end of a chain must not take the place of its beginning.
  const table = blocks.open(salt, match);
  try {
    const numEnd = Math.min(numResident + numBlocksMax, Math.floor(numTokensMax / blockTokens));
    const wanted = [...chainOf(source, numEnd * blockTokens, blockTokens)].slice(numResident);
    for (const bytes of wanted.length > 0 ? archive.read(wanted) : []) {
      const end = (table.numIndexed + 1) * blockTokens;
      if (!blocks.prepareWrite(table, end - blockTokens, end, [])) break;
      backend.writeBlock(table.at(table.numIndexed), bytes);
      blocks.commit(table, source, end);
    }
    const numRestored = table.numIndexed - numResident;
    return { numRestored, hasMore: numRestored === numBlocksMax && (numEnd + 1) * blockTokens <= numTokensMax };
  } finally {
    blocks.release(table);
  }
}

function readAtOnce(backend: Backend, block: number): Uint8Array<ArrayBuffer> {
  const bytes = backend.readBlock(block);
  if (bytes instanceof Promise) throw new Error(`Blocks of the backend "${backend.name}" cannot be archived.`);
  return bytes;
}

/** The full blocks of the first `numTokens`, each with the hash of everything up to its end. */
function* chainOf(source: TokenSource, numTokens: number, blockTokens: number): Generator<KvBlock, void, void> {
  const state = new Uint32Array(2);
  hashSalt(state, "");
  for (let index = 0; (index + 1) * blockTokens <= numTokens; index++) {
    const ids = Int32Array.from({ length: blockTokens }, (_, i) => source.tokenAt(index * blockTokens + i));
    hashTokens(state, ids);
    yield { index, hash: hex(state[1]!) + hex(state[0]!), ids };
  }
}

function hex(lane: number): string {
  return lane.toString(16).padStart(8, "0");
}
