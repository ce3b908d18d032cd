/** Blocks of answers that ended and are not archived yet: nobody takes them, as long as that costs nobody much. */
import { describe, expect, it } from "vitest";
import { HOLD_STEPS_MAX } from "../../../src/serving/unsaved-blocks.ts";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { MapArchive } from "./map-archive.ts";

const tokensOf = ({ sequence }: Job) => [...sequence.promptTokens, ...sequence.outputTokens];

/** One answer that runs on, and one that has just ended with seven full blocks in a pool of twelve. */
function justEnded(numRunningTokens = 30, numBlocks = 12) {
  const rig = new Rig({ numBlocks });
  const archive = new MapArchive();
  const running = job(tokensFrom(2, 3), numRunningTokens);
  const ended = job(tokensFrom(1, 28), 2, { archive });
  for (const { sequence } of [running, ended]) rig.engine.add([sequence]);
  while (ended.probe.end === null) if (!rig.engine.restoreSome(ended.sequence)) rig.step();
  expect(rig.engine.stats.numUnsaved).toBe(1);
  return { rig, archive, running, ended };
}

describe("blocks that are not archived yet", () => {
  it("are waited for by a newcomer, and free when they are archived", () => {
    const { rig, archive, ended } = justEnded();
    const newcomer = job(tokensFrom(3, 24), 2);
    rig.engine.add([newcomer.sequence]);
    for (let i = 0; i < 3; i++) rig.step();
    expect(newcomer.sequence.status).toBe("waiting");
    expect(rig.engine.saveBlocks(tokensOf(ended), "", archive)).toMatchObject({ numKept: 7, isWhole: true });
    expect(rig.engine.stats.numUnsaved).toBe(0);
    rig.step();
    expect(newcomer.sequence.status).toBe("running");
    rig.drain();
    expect(newcomer.probe.tokens).toEqual(expected(newcomer));
  });

  it("are waited for no longer than so many steps", () => {
    const { rig } = justEnded(30, 15);
    const newcomer = job(tokensFrom(3, 24), 2);
    rig.engine.add([newcomer.sequence]);
    let numSteps = 0;
    while (newcomer.sequence.status === "waiting") {
      rig.step();
      numSteps++;
    }
    expect(numSteps).toBe(HOLD_STEPS_MAX + 1);
    rig.drain();
    expect(newcomer.probe.tokens).toEqual(expected(newcomer));
  });

  it("are given up before anybody is preempted", () => {
    const { rig, running } = justEnded(40, 11);
    rig.drain();
    expect(running.probe.tokens).toEqual(expected(running));
    expect(rig.engine.stats.numPreemptions).toBe(0);
  });

  it("are free when nobody is left who could take them, however the last one ended", () => {
    for (const end of ["finish", "abort"]) {
      const { rig, running } = justEnded();
      if (end === "finish") rig.drain();
      else rig.engine.abort(running.sequence);
      rig.engine.checkInvariants();
      const { numUnsaved, numFreeBlocks, numBlocks } = rig.engine.stats;
      expect([numUnsaved, numFreeBlocks]).toEqual([0, numBlocks]);
    }
  });

  it("of one that was stopped are held, too; of one that nobody keeps are not", () => {
    for (const archive of [new MapArchive(), undefined]) {
      const rig = new Rig();
      const running = job(tokensFrom(2, 3), 20);
      const stopped = job(tokensFrom(1, 28), 20, archive === undefined ? {} : { archive });
      for (const { sequence } of [running, stopped]) rig.engine.add([sequence]);
      while (stopped.probe.tokens.length < 4) if (!rig.engine.restoreSome(stopped.sequence)) rig.step();
      rig.engine.abort(stopped.sequence);
      expect(rig.engine.stats.numUnsaved).toBe(archive === undefined ? 0 : 1);
      rig.drain();
    }
  });
});
