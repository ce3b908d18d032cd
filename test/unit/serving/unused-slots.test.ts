/** What of the taken KV blocks holds nothing: counted over tables, over engines at random, and under a load like ShareGPT's. */
import { expect, test } from "vitest";
import { measureKvWaste, SHARE_GPT } from "../../../scripts/bench/kv-waste-run.ts";
import type { BlockCopy } from "../../../src/serving/backend.ts";
import { BlockManager } from "../../../src/serving/block-manager.ts";
import { unusedSlots } from "../../../src/serving/unused-slots.ts";
import { request, world } from "./world.ts";

const BLOCK_TOKENS = 4;

function tableOf(blocks: BlockManager, numTokens: number) {
  const table = blocks.open("", blocks.match({ tokenAt: () => 0 }, "", 0));
  blocks.prepareWrite(table, 0, numTokens, []);
  return table;
}

test.each([
  ["nothing", [], 0],
  ["a full block", [[4, 4]], 0],
  ["the rest of a last block", [[5, 5]], 3],
  ["what is reserved for a prompt that is computed in pieces", [[11, 2]], 10],
  [
    "the sum of sequences",
    [
      [5, 5],
      [7, 7],
      [8, 0],
    ],
    12,
  ],
] as [string, [taken: number, computed: number][], number][])("%s", (_, sequences, expected) => {
  const blocks = new BlockManager({ numBlocks: 16, blockTokens: BLOCK_TOKENS });
  const holders = sequences.map(([taken, numComputed]) => ({ table: tableOf(blocks, taken), numComputed }));
  expect(unusedSlots(holders, BLOCK_TOKENS)).toBe(expected);
});

test("a shared block counts once, until who writes in it has a copy", () => {
  const blocks = new BlockManager({ numBlocks: 16, blockTokens: BLOCK_TOKENS });
  const table = tableOf(blocks, 6);
  const forks = [table, blocks.fork(table), blocks.fork(table)];
  expect(
    unusedSlots(
      forks.map((each) => ({ table: each, numComputed: 6 })),
      BLOCK_TOKENS,
    ),
  ).toBe(2);
  const copies: BlockCopy[] = [];
  blocks.prepareWrite(forks[1]!, 6, 7, copies);
  const written = forks.map((each, i) => ({ table: each, numComputed: i === 1 ? 7 : 6 }));
  expect([copies.length, unusedSlots(written, BLOCK_TOKENS)]).toEqual([1, 3]);
});

test("an engine says it with its blocks, and of none where nothing runs", () => {
  const { model } = world();
  const generation = model.generate(request({ maxTokens: 6, n: 2 }));
  while (!generation.hasEnded) {
    const { numUnusedSlots, numBlocks, numFreeBlocks, blockTokens } = model.stats;
    const numTaken = (numBlocks - numFreeBlocks) * blockTokens;
    expect(numUnusedSlots).toBeGreaterThanOrEqual(0);
    expect(numUnusedSlots).toBeLessThanOrEqual(Math.min(numTaken, 2 * blockTokens));
    generation.step();
  }
  expect([model.stats.numUnusedSlots, model.stats.numFreeBlocks]).toEqual([0, model.stats.numBlocks]);
});

test("under a load like ShareGPT's, 64 sequences with blocks of 16 waste less than 4 %", () => {
  const load = { ...SHARE_GPT, numRequests: 200, numRunning: 64, blockTokens: 16, batchTokens: 2048, seed: 1 };
  const [single, choices] = [measureKvWaste({ ...load, n: 1 }), measureKvWaste({ ...load, n: 4 })];
  for (const { meanShare, numRunning, numPreemptions } of [single, choices]) {
    expect(meanShare).toBeLessThan(0.04);
    expect(meanShare).toBeGreaterThan(0.005);
    expect(numRunning).toBeGreaterThan(60);
    expect(numPreemptions).toBe(0);
  }
});
