import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BlockCopy } from "../../../src/serving/backend.ts";
import { hashSalt, hashTokens, type TokenHash } from "../../../src/serving/block-hash.ts";
import { BlockManager } from "../../../src/serving/block-manager.ts";
import type { BlockTable } from "../../../src/serving/block-table.ts";

const BLOCK_TOKENS = 3;

function source(tokens: readonly number[]) {
  return { tokenAt: (position: number) => tokens[position]! };
}

/** A table with the KV of `tokens` computed, as a finished prefill leaves it. */
function filled(blocks: BlockManager, tokens: readonly number[], salt = ""): BlockTable {
  const match = blocks.match(source(tokens), salt, tokens.length);
  const numMatched = match.numBlocks * blocks.blockTokens;
  const table = blocks.open(salt, match);
  if (!blocks.prepareWrite(table, numMatched, tokens.length, [])) throw new Error("The pool is full.");
  blocks.commit(table, source(tokens), tokens.length);
  return table;
}

function numMatched(blocks: BlockManager, tokens: readonly number[], salt = ""): number {
  return blocks.match(source(tokens), salt, tokens.length).numBlocks;
}

describe("prefix cache", () => {
  it("keeps a released prefix until its blocks are taken, tail first", () => {
    const blocks = new BlockManager({ numBlocks: 4, blockTokens: BLOCK_TOKENS });
    const prefix = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    blocks.release(filled(blocks, prefix));
    expect([numMatched(blocks, prefix), blocks.numFreeBlocks, blocks.numCachedBlocks]).toEqual([3, 4, 3]);
    const found = [];
    for (let numTaken = 1; numTaken <= 4; numTaken++) {
      const table = blocks.open("", blocks.match(source([]), "", 0));
      blocks.prepareWrite(table, 0, numTaken * BLOCK_TOKENS, []);
      found.push(numMatched(blocks, prefix));
      blocks.release(table);
    }
    // The empty block goes first, then the end of the chain.
    expect(found).toEqual([3, 2, 1, 0]);
  });

  it("reuses the least recently used prefix first", () => {
    const blocks = new BlockManager({ numBlocks: 6, blockTokens: BLOCK_TOKENS });
    for (const first of [10, 20, 30]) blocks.release(filled(blocks, [first, 1, 2, first, 1, 2]));
    blocks.release(filled(blocks, [10, 1, 2, 10, 1, 2]));
    const table = blocks.open("", blocks.match(source([]), "", 0));
    blocks.prepareWrite(table, 0, 2 * BLOCK_TOKENS, []);
    expect([10, 20, 30].map((first) => numMatched(blocks, [first, 1, 2, first, 1, 2]))).toEqual([2, 0, 2]);
  });

  it("finds a block only after the same prefix", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    blocks.release(filled(blocks, [1, 2, 3, 7, 7, 7]));
    expect(numMatched(blocks, [7, 7, 7])).toBe(0);
    expect(numMatched(blocks, [3, 2, 1, 7, 7, 7])).toBe(0);
    expect(numMatched(blocks, [1, 2, 3, 7, 7, 8])).toBe(1);
    expect(numMatched(blocks, [1, 2, 3, 7, 7, 7], "salt")).toBe(0);
  });

  it("holds one block for content that two sequences computed", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const tokens = [1, 2, 3, 4, 5, 6];
    const tables = [0, 1].map(() => {
      const table = blocks.open("", blocks.match(source(tokens), "", 0));
      blocks.prepareWrite(table, 0, tokens.length, []);
      return table;
    });
    expect(blocks.numFreeBlocks).toBe(4);
    for (const table of tables) blocks.commit(table, source(tokens), tokens.length);
    expect(blocks.numFreeBlocks).toBe(6);
    expect([...tables[0]!.view]).toEqual([...tables[1]!.view]);
    blocks.checkInvariants(tables);
  });

  it("forgets everything when the pool's content is lost", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const table = filled(blocks, [1, 2, 3, 4]);
    expect(() => blocks.forgetContent()).toThrow("still in a table");
    blocks.release(table);
    blocks.forgetContent();
    expect([numMatched(blocks, [1, 2, 3, 4]), blocks.numCachedBlocks]).toEqual([0, 0]);
    blocks.checkInvariants([]);
  });
});

describe("a tail", () => {
  const prefix = [1, 2, 3, 4, 5];

  /** A finished sequence's blocks, free and findable. */
  function ended(blocks: BlockManager, tokens: readonly number[], salt = ""): void {
    const table = filled(blocks, tokens, salt);
    blocks.keepTail(table, source(tokens), tokens.length);
    blocks.release(table);
  }

  /** Tokens that a new table of these begins with, and the table. */
  function opened(blocks: BlockManager, tokens: readonly number[], salt = "") {
    const match = blocks.match(source(tokens), salt, tokens.length - 1);
    const table = blocks.open(salt, match);
    return { table, numFound: match.numBlocks * BLOCK_TOKENS + blocks.takeTail(table, match) };
  }

  it("is found as far as it is the same, after the same prefix and under the same salt", () => {
    for (const [tokens, numFound] of [
      [[1, 2, 3, 4, 5, 6, 7], 5],
      [[1, 2, 3, 4, 5, 6], 5],
      [[1, 2, 3, 4, 5], 4],
      [[1, 2, 3, 4, 9, 9], 4],
      [[1, 2, 3, 9, 5, 6], 3],
      [[4, 5, 6, 7], 0],
      [[9, 2, 3, 4, 5, 6], 0],
    ] as const) {
      const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
      ended(blocks, prefix);
      expect([tokens, opened(blocks, tokens, "salt").numFound]).toEqual([tokens, 0]);
      expect([tokens, opened(blocks, tokens).numFound]).toEqual([tokens, numFound]);
    }
  });

  it("belongs to the first who goes on from it", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    ended(blocks, prefix);
    const [first, second] = [opened(blocks, [...prefix, 6]), opened(blocks, [...prefix, 6])];
    expect([first.numFound, second.numFound]).toEqual([5, 3]);
    blocks.checkInvariants([first.table, second.table]);
  });

  it("is the longest one of those that fit, and is kept once", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    for (const tokens of [[1], [1, 2], [1, 2], [1]]) ended(blocks, tokens);
    expect(blocks.numCachedBlocks).toBe(2);
    expect([opened(blocks, [1, 2, 3]).numFound, opened(blocks, [1, 2, 3]).numFound]).toEqual([2, 1]);
  });

  it("is not kept where a fork may still write into it, nor where there is none", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const table = filled(blocks, prefix);
    const fork = blocks.fork(table);
    blocks.keepTail(table, source(prefix), prefix.length);
    blocks.release(table);
    expect(blocks.match(source(prefix), "", prefix.length).numTailTokens).toBe(0);
    blocks.checkInvariants([fork]);
    ended(blocks, [7, 7, 7]);
    expect(blocks.match(source([7, 7, 7, 7]), "", 4)).toMatchObject({ numBlocks: 1, numTailTokens: 0 });
  });
});

describe("copy-on-write", () => {
  it("copies a shared partial block for all owners but the last", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const tables = [filled(blocks, [1, 2, 3, 4])];
    tables.push(blocks.fork(tables[0]!), blocks.fork(tables[0]!));
    const partial = tables[0]!.at(1);
    const copies: BlockCopy[] = [];
    for (const table of tables) expect(blocks.prepareWrite(table, 4, 5, copies)).toBe(true);
    expect(copies.map(({ from }) => from)).toEqual([partial, partial]);
    expect(tables.map((table) => table.at(1))).toEqual([copies[0]!.to, copies[1]!.to, partial]);
    expect(new Set(tables.map((table) => table.at(0))).size).toBe(1);
    blocks.checkInvariants(tables);
  });

  it("copies nothing at a block border", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const parent = filled(blocks, [1, 2, 3]);
    const child = blocks.fork(parent);
    const copies: BlockCopy[] = [];
    for (const table of [parent, child]) blocks.prepareWrite(table, 3, 4, copies);
    expect(copies).toEqual([]);
    expect(parent.at(0)).toBe(child.at(0));
    expect(parent.at(1)).not.toBe(child.at(1));
  });

  it("changes nothing where too few blocks are free", () => {
    const blocks = new BlockManager({ numBlocks: 3, blockTokens: BLOCK_TOKENS });
    const parent = filled(blocks, [1, 2, 3, 4]);
    const child = blocks.fork(parent);
    const copies: BlockCopy[] = [];
    expect(blocks.prepareWrite(child, 4, 7, copies)).toBe(false);
    expect([copies.length, blocks.numFreeBlocks, child.numBlocks]).toEqual([0, 1, 2]);
    expect(blocks.prepareWrite(child, 4, 6, copies)).toBe(true);
    blocks.checkInvariants([parent, child]);
  });
});

describe("truncate", () => {
  it("gives back the blocks behind, and keeps a cached block it cut through intact for others", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const tokens = [1, 2, 3, 4, 5, 6, 7];
    const other = filled(blocks, tokens);
    const table = filled(blocks, tokens);
    blocks.truncate(table, 5);
    const copies: BlockCopy[] = [];
    blocks.prepareWrite(table, 5, 6, copies);
    expect(copies).toEqual([{ from: other.at(1), to: table.at(1) }]);
    blocks.commit(table, source([1, 2, 3, 4, 5, 9]), 6);
    expect(numMatched(blocks, [1, 2, 3, 4, 5, 9])).toBe(2);
    expect(numMatched(blocks, [1, 2, 3, 4, 5, 6])).toBe(2);
    blocks.checkInvariants([other, table]);
  });

  it("takes a block that it alone holds out of the cache before it is written", () => {
    const blocks = new BlockManager({ numBlocks: 8, blockTokens: BLOCK_TOKENS });
    const table = filled(blocks, [1, 2, 3, 4, 5, 6]);
    blocks.truncate(table, 4);
    expect(numMatched(blocks, [1, 2, 3, 4, 5, 6])).toBe(2);
    const copies: BlockCopy[] = [];
    blocks.prepareWrite(table, 4, 5, copies);
    expect([copies.length, numMatched(blocks, [1, 2, 3, 4, 5, 6])]).toEqual([0, 1]);
    blocks.checkInvariants([table]);
  });
});

describe("random lives of tables", () => {
  const worstHash: TokenHash = (state) => state.fill(0);
  const operation = fc.record({
    kind: fc.constantFrom("open", "append", "append", "fork", "truncate", "release"),
    table: fc.nat(20),
    tokens: fc.array(fc.nat(1), { maxLength: 8 }),
    salt: fc.constantFrom("", "a"),
  });

  for (const [name, hash] of [
    ["the real hash", hashTokens],
    ["a hash under which everything collides", worstHash],
  ] as const) {
    it(`keeps every content what its readers think it is, with ${name}`, () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 2, max: 12 }),
          fc.array(operation, { maxLength: 60 }),
          (numBlocks, operations) => {
            const blocks = new BlockManager({ numBlocks, blockTokens: BLOCK_TOKENS, hash });
            // What a backend would hold: for each slot the whole history of its position, salt included.
            const memory: string[] = new Array(numBlocks * BLOCK_TOKENS).fill("nothing");
            const live: { table: BlockTable; tokens: number[] }[] = [];
            const slot = (table: BlockTable, position: number) =>
              table.at(Math.floor(position / BLOCK_TOKENS)) * BLOCK_TOKENS + (position % BLOCK_TOKENS);
            const write = (table: BlockTable, tokens: number[], start: number): boolean => {
              const copies: BlockCopy[] = [];
              if (!blocks.prepareWrite(table, start, tokens.length, copies)) return false;
              for (const { from, to } of copies) {
                memory.copyWithin(to * BLOCK_TOKENS, from * BLOCK_TOKENS, (from + 1) * BLOCK_TOKENS);
              }
              for (let position = start; position < tokens.length; position++) {
                memory[slot(table, position)] = `${table.salt}:${tokens.slice(0, position + 1)}`;
              }
              blocks.commit(table, source(tokens), tokens.length);
              return true;
            };
            for (const { kind, table: pick, tokens, salt } of operations) {
              const one = live[pick % Math.max(1, live.length)];
              if (kind === "open" && tokens.length > 0) {
                const match = blocks.match(source(tokens), salt, tokens.length - 1);
                const table = blocks.open(salt, match);
                const numFound = match.numBlocks * BLOCK_TOKENS + blocks.takeTail(table, match);
                if (write(table, tokens, numFound)) live.push({ table, tokens });
                else blocks.release(table);
              } else if (one !== undefined && kind === "append" && tokens.length > 0) {
                const longer = [...one.tokens, ...tokens];
                if (write(one.table, longer, one.tokens.length)) one.tokens = longer;
              } else if (one !== undefined && kind === "fork") {
                live.push({ table: blocks.fork(one.table), tokens: one.tokens });
              } else if (one !== undefined && kind === "truncate") {
                one.tokens = one.tokens.slice(0, tokens.length);
                blocks.truncate(one.table, one.tokens.length);
              } else if (one !== undefined && kind === "release") {
                blocks.keepTail(one.table, source(one.tokens), one.tokens.length);
                blocks.release(one.table);
                live.splice(live.indexOf(one), 1);
              }
              blocks.checkInvariants(live.map(({ table }) => table));
              for (let block = 0; block < numBlocks; block++) {
                if (blocks.isVacant(block)) memory.fill("poison", block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS);
              }
              for (const { table, tokens: own } of live) {
                for (let position = 0; position < own.length; position++) {
                  expect(memory[slot(table, position)]).toBe(`${table.salt}:${own.slice(0, position + 1)}`);
                }
              }
            }
            for (const { table } of live) blocks.release(table);
            expect(blocks.numFreeBlocks).toBe(numBlocks);
          },
        ),
        { seed: 20261122, numRuns: 1500 },
      );
    });
  }
});

describe("the chained hash", () => {
  it("tells apart 200,000 blocks that differ in one token, its place, the parent or the salt", () => {
    // 53 of the 64 bits make a number; a hash of 32 would collide here about 4 times.
    const seen = new Set<number>();
    const state = new Uint32Array(2);
    let numHashed = 0;
    for (const salt of ["", "a", "b", "ab"]) {
      for (let parent = 0; parent < 5; parent++) {
        for (let token = 0; token < 2500; token++) {
          for (let place = 0; place < 4; place++) {
            const tokens = [0, 0, 0, 0];
            tokens[place] = token + 1;
            hashSalt(state, salt);
            hashTokens(state, [parent, 0, 0, 0]);
            hashTokens(state, tokens);
            seen.add((state[1]! >>> 11) * 2 ** 32 + state[0]!);
            numHashed++;
          }
        }
      }
    }
    expect(seen.size).toBe(numHashed);
  });
});
