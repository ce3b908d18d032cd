/**
 * Where chunk index, cache hit and KV length meet. Most bugs of schedulers like this one were off by one at a block
 * border, so small blocks are tried with every length around them.
 */
import { describe, expect, it } from "vitest";
import { expected, job, Rig, tokensFrom } from "./harness.ts";

describe("a prompt cut into chunks", () => {
  for (const blockTokens of [1, 2, 3, 4]) {
    it(`gives the text of the whole, with blocks of ${blockTokens} and every length and budget around them`, () => {
      for (let numPrompt = 1; numPrompt <= 3 * blockTokens + 1; numPrompt++) {
        for (let tokenBudget = 1; tokenBudget <= numPrompt + 1; tokenBudget++) {
          const rig = new Rig({ blockTokens, numBlocks: 20 }, { tokenBudget });
          const one = job(tokensFrom(numPrompt, numPrompt), blockTokens + 2);
          rig.run(one);
          expect(one.probe.error).toBeNull();
          expect(one.probe.tokens).toEqual(expected(one));
          expect(one.probe.end).toBe("length");
          expect(rig.numFree).toBe(20);
          const numPrefillSteps = Math.ceil(numPrompt / tokenBudget);
          expect(rig.backend.stepSizes.length).toBe(numPrefillSteps + one.sequence.maxTokens - 1);
        }
      }
    });
  }
});

describe("a cached prefix", () => {
  for (const blockTokens of [1, 2, 3, 4]) {
    it(`is used in whole blocks of ${blockTokens}, up to the last token, which is always computed`, () => {
      for (let numShared = 0; numShared <= 3 * blockTokens; numShared++) {
        for (let numOwn = 0; numOwn <= blockTokens + 1; numOwn++) {
          if (numShared + numOwn === 0) continue;
          for (const tokenBudget of [1, blockTokens, blockTokens + 1, 64]) {
            const rig = new Rig({ blockTokens, numBlocks: 40 }, { tokenBudget });
            const shared = tokensFrom(1, numShared);
            // 31 and 30 are no shared token's neighbours: the two prompts part exactly behind the shared part.
            const first = job([...shared, 31, ...tokensFrom(2, blockTokens)], 2);
            const second = job([...shared, ...[30, ...tokensFrom(3, 9)].slice(0, numOwn)], 2 * blockTokens);
            rig.run(first);
            rig.run(second);
            const numPrompt = numShared + numOwn;
            const numReusable = Math.min(numShared, numPrompt - 1);
            expect(second.sequence.numCachedTokens).toBe(numReusable - (numReusable % blockTokens));
            expect(second.probe.tokens).toEqual(expected(second));
            expect(first.probe.tokens).toEqual(expected(first));
            expect(rig.numFree).toBe(40);
          }
        }
      }
    });
  }

  it("goes on through the generated tokens into the next turn", () => {
    for (let numOutput = 1; numOutput <= 9; numOutput++) {
      const rig = new Rig({ blockTokens: 4 });
      const first = job(tokensFrom(5, 6), numOutput);
      rig.run(first);
      const second = job([...tokensFrom(5, 6), ...first.probe.tokens, 7, 8, 9], 4);
      rig.run(second);
      // The last token was sampled and never computed.
      const numKnown = 6 + numOutput - 1;
      expect(second.sequence.numCachedTokens).toBe(numKnown);
      expect(second.probe.tokens).toEqual(expected(second));
    }
  });

  it("is not shared between salts", () => {
    const rig = new Rig();
    const prompt = tokensFrom(1, 20);
    const jobs = ["", "tenant-a", "tenant-b", "tenant-a"].map((cacheSalt) => job(prompt, 3, { cacheSalt }));
    for (const one of jobs) rig.run(one);
    expect(jobs.map((one) => one.sequence.numCachedTokens)).toEqual([0, 0, 0, 16]);
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
  });

  it("is not shared between adapters, whatever a client calls its salt", () => {
    const rig = new Rig({ numAdapters: 2 });
    const prompt = tokensFrom(1, 20);
    const asked = [
      { adapter: 0 },
      { adapter: 1 },
      { adapter: 2 },
      { adapter: 1 },
      { adapter: 1, cacheSalt: "tenant-a" },
      { cacheSalt: job(prompt, 1, { adapter: 1 }).sequence.cacheSalt },
      { cacheSalt: "\u00001:" },
      { adapter: 1, cacheSalt: job(prompt, 1, { adapter: 1 }).sequence.cacheSalt },
      {},
    ];
    const jobs = asked.map((options) => job(prompt, 3, options));
    for (const one of jobs) rig.run(one);
    expect(jobs.map((one) => one.sequence.numCachedTokens)).toEqual([0, 0, 0, 16, 0, 0, 16, 0, 16]);
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
    expect(new Set([0, 1, 2].map((i) => jobs[i]!.probe.tokens.join())).size).toBe(3);
  });

  it("is not waited for where another adapter computes it", () => {
    const rig = new Rig({ blockTokens: 4, numAdapters: 1 });
    const jobs = [job(tokensFrom(1, 21), 3), job(tokensFrom(1, 21), 3, { adapter: 1 })];
    rig.run(...jobs);
    expect(rig.backend.stepSizes[0]).toEqual([21, 21]);
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
  });

  it("is not computed twice by two requests that arrive together", () => {
    const rig = new Rig({ blockTokens: 4 });
    const jobs = [job(tokensFrom(1, 21), 3), job(tokensFrom(1, 21), 3), job([...tokensFrom(1, 9), 31, 31], 3)];
    rig.run(...jobs);
    expect(jobs.map((one) => one.sequence.numCachedTokens)).toEqual([0, 20, 8]);
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
    // 21 tokens, then 1 and 3: what was waited for was not computed again.
    expect(rig.backend.stepSizes.slice(0, 2)).toEqual([[21], [1, 1, 3]]);
  });

  it("is not waited for where there is no cache or another salt", () => {
    for (const [prefixCache, cacheSalt] of [
      [false, ""],
      [true, "other"],
    ] as const) {
      const rig = new Rig({ blockTokens: 4 }, { prefixCache });
      const jobs = [job(tokensFrom(1, 21), 3), job(tokensFrom(1, 21), 3, { cacheSalt })];
      rig.run(...jobs);
      expect(jobs.map((one) => one.sequence.numCachedTokens)).toEqual([0, 0]);
      expect(rig.backend.stepSizes[0]).toEqual([21, 21]);
    }
  });
});

describe("a prefix that is being computed", () => {
  it("is not waited for by a request that must compute it itself to score it", () => {
    const rig = new Rig({ blockTokens: 4 });
    const jobs = [job(tokensFrom(1, 21), 3), job(tokensFrom(1, 21), 3, { scorePrompt: true })];
    rig.run(...jobs);
    expect(rig.backend.stepSizes[0]).toEqual([21, 21]);
  });

  it("is not waited for behind another beginning", () => {
    const rig = new Rig({ blockTokens: 4 });
    const [cached, other, common] = [[1, 1, 1, 1], [2, 2, 2, 2], tokensFrom(1, 9)];
    rig.run(job([...cached, 9], 1));
    const jobs = [job([...other, ...common], 3), job([...cached, ...common], 3)];
    rig.run(...jobs);
    expect(rig.backend.stepSizes[1]).toEqual([13, 9]);
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
  });
});

describe("the end of the context", () => {
  it("takes a sequence that fills the pool to its last block, and refuses one block more with the numbers", () => {
    const rig = new Rig({ blockTokens: 4, numBlocks: 5 });
    const full = job(tokensFrom(1, 9), 11);
    rig.run(full);
    expect(full.probe.tokens).toEqual(expected(full));
    expect(() => rig.engine.add([job(tokensFrom(1, 9), 12).sequence])).toThrow(
      "A sequence of up to 21 tokens needs 6 KV blocks of 4 tokens; the pool has 5.",
    );
  });

  it("computes a prompt and generates nothing where no token is wanted", () => {
    for (const numPrompt of [1, 3, 4, 5, 20]) {
      const rig = new Rig({ blockTokens: 4, numBlocks: 5 }, { tokenBudget: 3 });
      const one = job(tokensFrom(1, numPrompt), 0);
      rig.run(one);
      expect([one.probe.tokens, one.probe.end, one.probe.numPrefilled]).toEqual([[], "length", 1]);
      expect(rig.engine.stats.numCachedBlocks).toBe(Math.ceil(numPrompt / 4));
    }
  });
});
