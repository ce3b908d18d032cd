/**
 * The KV blocks of one sequence, in order: logical block i holds positions [i·B, (i+1)·B). Only `BlockManager` changes
 * a table; everyone else reads `view`.
 */
export class BlockTable {
  readonly salt: string;
  /** Leading blocks that are full and in the prefix index; the rest is this sequence's own or shared by a fork. */
  numIndexed = 0;
  #blocks: Int32Array = new Int32Array(8);
  #numBlocks = 0;
  /** Cut anew only when the length changes (once per block, not per token). */
  #view: Int32Array | null = null;

  constructor(salt: string) {
    this.salt = salt;
  }

  get numBlocks(): number {
    return this.#numBlocks;
  }

  /** Physical ids, exactly `numBlocks` of them. Valid until the table next changes. */
  get view(): Int32Array {
    this.#view ??= this.#blocks.subarray(0, this.#numBlocks);
    return this.#view;
  }

  at(index: number): number {
    return this.#blocks[index]!;
  }

  set(index: number, block: number): void {
    this.#blocks[index] = block;
  }

  push(block: number): void {
    if (this.#numBlocks === this.#blocks.length) {
      const grown = new Int32Array(this.#blocks.length * 2);
      grown.set(this.#blocks);
      this.#blocks = grown;
    }
    this.#blocks[this.#numBlocks++] = block;
    this.#view = null;
  }

  pop(): number {
    this.#view = null;
    return this.#blocks[--this.#numBlocks]!;
  }
}
