/** Blocks that leave the pool and come back: what is found again, what is not, and that nothing is left of it. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { BackendCrash } from "../../../src/serving/backend.ts";
import type { KvSource } from "../../../src/serving/kv-archive.ts";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { MapArchive } from "./map-archive.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

/** All content of the pool is lost, as after a restart. */
function restart(rig: Rig): void {
  const victim = job([1], 1);
  rig.backend.nextError = new BackendCrash("restart");
  rig.engine.add([victim.sequence]);
  rig.engine.step();
  expect(rig.engine.isAlive).toBe(false);
  rig.engine.abort(victim.sequence);
  rig.backend.poison(Array.from({ length: rig.backend.limits.numBlocks }, (_, block) => block));
  rig.engine.replaceBackend(rig.backend);
  rig.engine.checkInvariants();
}

/** Restores what there is to restore now, as the owner of the sequence does. @returns how many pieces it took */
function restore(rig: Rig, { sequence }: Job): number {
  let numPieces = 0;
  while (rig.engine.restoreSome(sequence)) {
    rig.engine.checkInvariants();
    numPieces++;
  }
  return numPieces;
}

/** Answers a prompt with blocks from the archive, and checks the answer. */
function turn(rig: Rig, prompt: number[], numTokens: number, archive: KvSource, salt = ""): Job {
  const asked = job(prompt, numTokens, { cacheSalt: salt, archive });
  rig.engine.add([asked.sequence]);
  restore(rig, asked);
  rig.drain();
  expect(asked.probe.tokens).toEqual(expected(asked));
  return asked;
}

function save(rig: Rig, tokens: number[], archive: MapArchive, salt = ""): number {
  const progress = rig.engine.saveBlocks(tokens, salt, archive);
  if (progress === null) throw new Error("The engine is dead.");
  expect(progress.isWhole).toBe(true);
  archive.cut(progress.numKept);
  return progress.numKept;
}

/** 20 prompt tokens and 10 generated ones, in 7 full blocks of 4 (the last token is not computed), archived. */
function conversation(rig: Rig, archive: MapArchive, salt = ""): number[] {
  const prompt = tokensFrom(1, 20);
  const tokens = [...prompt, ...turn(rig, prompt, 10, archive, salt).probe.tokens];
  expect(save(rig, tokens, archive, salt)).toBe(7);
  return tokens;
}

describe("restoring", () => {
  it("lets the next turn find after a restart what it would have found without", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = [...conversation(rig, archive), 5, 6];
    restart(rig);
    expect(turn(rig, tokens, 6, new MapArchive()).sequence.numCachedTokens).toBe(0);
    restart(rig);
    expect(turn(rig, tokens, 6, archive).sequence.numCachedTokens).toBe(28);
    expect([rig.engine.stats.numRestoredTokens, rig.numFree]).toEqual([28, 64]);
  });

  it("reads only what the pool has lost", () => {
    const [rig, archive] = [new Rig({ numBlocks: 12 }), new MapArchive()];
    const tokens = conversation(rig, archive);
    // Takes ten blocks: five that are empty, and five from the end of the conversation.
    rig.run(job(tokensFrom(2, 38), 2));
    expect(turn(rig, [...tokens, 5], 2, archive).sequence.numCachedTokens).toBe(28);
    expect(archive.reads).toEqual([2, 3, 4, 5, 6]);
    turn(rig, [...tokens, 5], 2, archive);
    expect(archive.reads).toHaveLength(5);
  });

  it("does not restore a block that ends with the prompt: its last token is computed anyway", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = conversation(rig, archive);
    restart(rig);
    expect(turn(rig, tokens.slice(0, 28), 1, archive).sequence.numCachedTokens).toBe(24);
    expect(archive.reads).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("stops at a block that is damaged, missing or of another text; the rest is computed and archived again", () => {
    const damages: ((archive: MapArchive) => void)[] = [
      (archive) => (archive.rows.get(3)!.isDamaged = true),
      (archive) => archive.rows.delete(3),
      (archive) => (archive.rows.get(3)!.tokens = "1,2,3,4"),
    ];
    for (const damage of damages) {
      const [rig, archive] = [new Rig(), new MapArchive()];
      const tokens = [...conversation(rig, archive), 5, 6, 7];
      restart(rig);
      damage(archive);
      const asked = turn(rig, tokens, 4, archive);
      expect([archive.reads, asked.sequence.numCachedTokens]).toEqual([[0, 1, 2], 12]);
      archive.rows.delete(3);
      archive.written.length = 0;
      expect(save(rig, [...tokens, ...asked.probe.tokens], archive)).toBe(9);
      expect(archive.written).toEqual([3, 7, 8]);
    }
  });

  it("takes free blocks only, and stops where there is none", () => {
    const [rig, archive] = [new Rig({ numBlocks: 10 }), new MapArchive()];
    const tokens = conversation(rig, archive);
    restart(rig);
    const running = job(tokensFrom(3, 25), 12);
    const asked = job([...tokens, 5], 2, { archive });
    rig.engine.add([running.sequence]);
    rig.step();
    rig.engine.add([asked.sequence]);
    expect([rig.numFree, restore(rig, asked)]).toEqual([3, 0]);
    // It comes in when the other is done, and not before are its blocks restored.
    for (let i = 0; i < 30 && asked.probe.end === null; i++) if (restore(rig, asked) === 0) rig.step();
    for (const one of [running, asked]) expect(one.probe.tokens).toEqual(expected(one));
    expect([archive.reads.length, asked.sequence.numCachedTokens, rig.engine.stats.numPreemptions]).toEqual([7, 28, 0]);
  });

  it("moves no more between two steps of others than they may wait for, and as much with each step", () => {
    const rig = new Rig({ numBlocks: 64 }, { movedTokensPerStep: 8 });
    const archive = new MapArchive();
    const tokens = tokensFrom(1, 41);
    rig.run(job(tokens, 1));
    const saved = () => rig.engine.saveBlocks(tokens, "", archive)!;
    while (!saved().isWhole);
    restart(rig);
    const running = job(tokensFrom(2, 5), 30);
    rig.engine.add([running.sequence]);
    rig.step();
    const asked = job(tokens, 2, { archive });
    rig.engine.add([asked.sequence]);
    for (let numBlocks = 2; numBlocks <= 10; numBlocks += 2) {
      expect([restore(rig, asked), archive.reads.length]).toEqual([1, numBlocks]);
      expect(asked.sequence.status).toBe("waiting");
      rig.step();
    }
    expect(asked.sequence.numCachedTokens).toBe(40);
    rig.drain();
    for (const one of [running, asked]) expect(one.probe.tokens).toEqual(expected(one));
  });

  it("of a preempted answer brings back what the pool has lost meanwhile", () => {
    const [rig, archive] = [new Rig({ numBlocks: 8 }), new MapArchive()];
    const first = job(tokensFrom(1, 9), 20);
    const preempted = job(tokensFrom(2, 13), 12, { archive });
    rig.engine.add([first.sequence, preempted.sequence]);
    while (preempted.probe.end === null) {
      if (restore(rig, preempted) === 0) rig.step();
      const { status, promptTokens } = preempted.sequence;
      if (status === "running") rig.engine.saveBlocks([...promptTokens, ...preempted.probe.tokens], "", archive);
    }
    expect(rig.engine.stats.numPreemptions).toBe(1);
    // The first one took the whole pool. Three blocks were full, and are not computed again.
    expect(rig.engine.stats.numRestoredTokens).toBe(12);
    expect(preempted.sequence.numCachedTokens).toBe(0);
    for (const one of [first, preempted]) expect(one.probe.tokens).toEqual(expected(one));
  });

  it("is not waited for longer than a few rounds where nobody restores", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = [...conversation(rig, archive), 5];
    restart(rig);
    const [left, behind] = [job(tokens, 2, { archive }), job(tokensFrom(2, 5), 2)];
    for (const { sequence } of [left, behind]) rig.engine.add([sequence]);
    let numSteps = 0;
    while (left.sequence.status === "waiting") {
      expect(rig.step()).toBe(true);
      numSteps++;
    }
    expect([numSteps, archive.reads.length]).toEqual([17, 0]);
    rig.drain();
    for (const one of [left, behind]) expect(one.probe.tokens).toEqual(expected(one));
  });

  it("keeps to the salt", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = [...conversation(rig, archive, "mine"), 5];
    restart(rig);
    expect(turn(rig, tokens, 1, archive, "mine").sequence.numCachedTokens).toBe(28);
    expect(turn(rig, tokens, 1, new MapArchive(), "theirs").sequence.numCachedTokens).toBe(0);
  });

  it("waits for no step and disturbs none", async () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = [...conversation(rig, archive), 5];
    restart(rig);
    rig.backend.isAsynchronous = true;
    const running = job(tokensFrom(4, 9), 3);
    rig.engine.add([running.sequence]);
    const step = rig.engine.step();
    const asked = job(tokens, 2, { archive });
    rig.engine.add([asked.sequence]);
    expect([restore(rig, asked), archive.reads]).toEqual([0, []]);
    await step;
    expect([restore(rig, asked), archive.reads.length]).toEqual([1, 7]);
    while (await rig.engine.step());
    for (const one of [running, asked]) expect(one.probe.tokens).toEqual(expected(one));
  });

  it("does nothing without a prefix cache, or without a backend", () => {
    const archive = new MapArchive();
    const tokens = conversation(new Rig(), archive);
    const rig = new Rig({}, { prefixCache: false });
    expect(turn(rig, tokens, 2, archive).sequence.numCachedTokens).toBe(0);
    rig.backend.nextError = new BackendCrash("gone");
    rig.engine.add([job([1], 1).sequence]);
    rig.engine.step();
    const asked = job(tokens, 1, { archive });
    rig.engine.add([asked.sequence]);
    expect(restore(rig, asked)).toBe(0);
    expect([rig.engine.saveBlocks(tokens, "", archive), archive.reads]).toEqual([null, []]);
  });

  it("gives everything back when the backend refuses the bytes, and computes the rest", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = [...conversation(rig, archive), 5];
    restart(rig);
    archive.rows.get(2)!.bytes = new Uint8Array(3);
    const asked = turn(rig, tokens, 2, archive);
    expect(rig.faults.at(-1)).toBeInstanceOf(RangeError);
    expect([rig.numFree, asked.sequence.numCachedTokens]).toEqual([64, 8]);
  });
});

describe("saving", () => {
  it("writes what is new and nothing twice", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = [...conversation(rig, archive), 5, 6];
    expect(archive.written).toEqual([0, 1, 2, 3, 4, 5, 6]);
    const answer = turn(rig, tokens, 9, archive);
    expect(save(rig, [...tokens, ...answer.probe.tokens], archive)).toBe(10);
    expect(archive.written).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("replaces what another turn of the conversation wrote", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const edited = [...conversation(rig, archive).slice(0, 13), 9, 9, 9, 9];
    const answer = turn(rig, edited, 2, archive);
    expect(save(rig, [...edited, ...answer.probe.tokens], archive)).toBe(4);
    expect(archive.written.slice(7)).toEqual([3]);
    expect(archive.rows.size).toBe(4);
  });

  it("ends where the archive is full, and where the pool has nothing more", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const tokens = conversation(rig, new MapArchive());
    archive.numBlocksMax = 3;
    expect(save(rig, tokens, archive)).toBe(3);
    archive.numBlocksMax = 100;
    restart(rig);
    expect(save(rig, tokens, archive)).toBe(3);
    expect([...archive.rows.keys()]).toEqual([0, 1, 2]);
  });

  it("may happen in mid-turn: full blocks are written once and never again", () => {
    const [rig, archive] = [new Rig(), new MapArchive()];
    const running = job(tokensFrom(1, 10), 14);
    rig.engine.add([running.sequence]);
    for (let i = 0; i < 8; i++) rig.step();
    expect(save(rig, [...running.sequence.promptTokens, ...running.probe.tokens], archive)).toBe(4);
    rig.drain();
    const tokens = [...running.sequence.promptTokens, ...running.probe.tokens];
    restart(rig);
    expect(turn(rig, tokens, 3, archive).sequence.numCachedTokens).toBe(16);
  });
});

it("random lifetimes: every answer is that of an engine without a cache, and no block is lost", () => {
  const action = fc.record({
    session: fc.nat(2),
    kind: fc.constantFrom("turn", "turn", "turn", "turn", "restart", "restart", "damage", "edit", "abandon"),
    numPrompt: fc.integer({ min: 1, max: 14 }),
    numTokens: fc.integer({ min: 1, max: 12 }),
    at: fc.nat(20),
  });
  let numRestored = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 24, max: 60 }),
      fc.array(action, { minLength: 10, maxLength: 24 }),
      (numBlocks, actions) => {
        const rig = new Rig({ numBlocks });
        const sessions = [0, 1, 2].map(() => ({ tokens: [] as number[], archive: new MapArchive() }));
        for (const [i, { session: index, kind, numPrompt, numTokens, at }] of actions.entries()) {
          const session = sessions[index]!;
          // Sessions 0 and 2 have one tenant.
          const salt = String(index % 2);
          const prompt = [...session.tokens, ...tokensFrom(i % 3, numPrompt)];
          if (prompt.length + numTokens > 90) session.tokens = [];
          else if (kind === "turn") {
            const answer = turn(rig, prompt, numTokens, session.archive, salt);
            session.tokens = [...prompt, ...answer.probe.tokens];
            save(rig, session.tokens, session.archive, salt);
          } else if (kind === "restart") restart(rig);
          else if (kind === "edit") session.tokens.length = Math.min(session.tokens.length, at * 4);
          else if (kind === "damage") {
            const row = session.archive.rows.get(at);
            if (row !== undefined) row.isDamaged = true;
          } else {
            const left = job(prompt, numTokens, { cacheSalt: salt, archive: session.archive });
            rig.engine.add([left.sequence]);
            if (at % 2 === 0) restore(rig, left);
            rig.step();
            rig.engine.abort(left.sequence);
            rig.engine.checkInvariants();
          }
        }
        const { stats } = rig.engine;
        expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, numBlocks]);
        numRestored += stats.numRestoredTokens;
      },
    ),
    { seed: 21, numRuns: 400 },
  );
  // The lifetimes reach what they are about.
  expect(numRestored).toBeGreaterThan(1000);
});
