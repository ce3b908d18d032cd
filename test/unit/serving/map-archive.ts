/** An archive of KV blocks in memory, which remembers what was asked of it. */
import type { KvBlock, KvSink, KvSource } from "../../../src/serving/kv-archive.ts";

interface KeptBlock {
  hash: string;
  tokens: string;
  bytes: Uint8Array;
  isDamaged: boolean;
}

export class MapArchive implements KvSource, KvSink {
  readonly rows = new Map<number, KeptBlock>();
  numBlocksMax = Number.POSITIVE_INFINITY;
  readonly reads: number[] = [];
  readonly written: number[] = [];

  has(index: number, hash: string): boolean {
    return this.rows.get(index)?.hash === hash;
  }

  read(blocks: readonly KvBlock[]): Uint8Array[] {
    const read: Uint8Array[] = [];
    for (const { index, hash, ids } of blocks) {
      const row = this.rows.get(index);
      if (row?.hash !== hash || row.tokens !== ids.join()) break;
      if (row.isDamaged) {
        this.rows.delete(index);
        break;
      }
      this.reads.push(index);
      read.push(row.bytes);
    }
    return read;
  }

  write(index: number, hash: string, tokens: Int32Array, bytes: Uint8Array): boolean {
    if (index >= this.numBlocksMax) return false;
    this.rows.set(index, { hash, tokens: tokens.join(), bytes, isDamaged: false });
    this.written.push(index);
    return true;
  }

  cut(numBlocks: number): void {
    for (const index of this.rows.keys()) if (index >= numBlocks) this.rows.delete(index);
  }
}
