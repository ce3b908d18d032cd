/** The lives of an engine, by a clock that the test moves. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  EngineStartError,
  SUPERVISOR_LIMITS,
  Supervisor,
  type SupervisorLimits,
} from "../../../src/origin/supervisor.ts";
import { ManualClock } from "../api/scripted-host.ts";
import { world } from "../serving/world.ts";
import { CONFIG, type ScriptedEngine, scripted, stateOf } from "./engines.ts";

const LIMITS: SupervisorLimits = SUPERVISOR_LIMITS;

let clock: ManualClock;
let lives: ScriptedEngine[];
let supervisor: Supervisor;
let numLost: number;
let lines: string[];

beforeEach(() => {
  clock = new ManualClock();
  const engines = scripted();
  lives = engines.lives;
  numLost = 0;
  lines = [];
  supervisor = new Supervisor({
    config: CONFIG,
    spawn: engines.spawn,
    clock,
    limits: LIMITS,
    onMessage: () => {},
    onLost: () => numLost++,
    log: (line) => lines.push(line),
  });
});

describe("the first life", () => {
  test("is told what to load, and is ready when it says so", async () => {
    const started = supervisor.start();
    expect(lives[0]!.sent).toEqual([{ type: "load", config: CONFIG }]);
    expect(supervisor.phase).toBe("starting");
    lives[0]!.ready();
    expect((await started).info.id).toBe("tiny");
    expect(supervisor.phase).toBe("ready");
  });

  test("fails with its own words, and none follows", async () => {
    const started = supervisor.start();
    lives[0]!.say({ type: "failed", failure: { kind: "no_gpu", message: "No GPU was found." } });
    lives[0]!.exit("exit code 1");
    const error = await started.catch((cause) => cause);
    expect(error).toBeInstanceOf(EngineStartError);
    expect(error).toMatchObject({ message: "No GPU was found.", failure: { kind: "no_gpu" } });
    clock.advance(LIMITS.pauseMaxMs * 2);
    expect(lives).toHaveLength(1);
  });

  test("that aborts without a word is a fault", async () => {
    const started = supervisor.start();
    lives[0]!.exit("SIGABRT");
    await expect(started).rejects.toMatchObject({ failure: { kind: "fault", message: "Its process ended: SIGABRT." } });
  });
});

describe("a ready engine", () => {
  beforeEach(() => {
    void supervisor.start();
    lives[0]!.ready();
  });

  test("that dies is followed by another after a pause, which doubles while lives are short", () => {
    const pauses: number[] = [];
    for (let i = 0; i < 9; i++) {
      lives.at(-1)!.exit("SIGSEGV");
      expect(supervisor.phase).toBe("paused");
      const numLives = lives.length;
      let pauseMs = 0;
      while (lives.length === numLives) {
        clock.advance(LIMITS.pauseMs);
        pauseMs += LIMITS.pauseMs;
      }
      pauses.push(pauseMs);
      lives.at(-1)!.ready();
    }
    expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    expect([numLost, supervisor.numRestarts]).toEqual([9, 9]);
    // A life that was long makes the next pause a short one again; every check hears from it meanwhile.
    for (let ms = 0; ms < LIMITS.stableMs; ms += 10_000) {
      clock.advance(10_000);
      lives.at(-1)!.say({ type: "beat", state: null });
    }
    lives.at(-1)!.exit("SIGSEGV");
    clock.advance(LIMITS.pauseMs);
    expect(supervisor.phase).toBe("starting");
  });

  test("says when to come back: after the pause and what loading takes", () => {
    lives[0]!.exit("SIGKILL");
    expect(supervisor.retryAfterS).toBe(2);
    clock.advance(LIMITS.pauseMs);
    lives[1]!.exit("exit code 1");
    expect(supervisor.phase).toBe("paused");
    expect(supervisor.retryAfterS).toBe(2);
  });

  test("that says nothing is ended, and so is one whose step does not end", () => {
    clock.advance(LIMITS.silenceMaxMs);
    expect(lives[0]!.isKilled).toBe(false);
    clock.advance(1_000);
    expect(lives[0]!.isKilled).toBe(true);
    expect(lines[0]).toMatch(/is lost and starts again in 250 ms\. It said nothing for 31000 ms\./);
    clock.advance(LIMITS.pauseMs);
    lives[1]!.ready();
    const state = { ...stateOf(world()), stepMs: LIMITS.stepMaxMs + 1 };
    lives[1]!.say({ type: "beat", state });
    expect(lives[1]!.isKilled).toBe(true);
    expect(numLost).toBe(2);
  });

  test("that cannot be killed is given up all the same, and what it says later is not heard", () => {
    const [stuck] = lives;
    stuck!.kill = () => {};
    clock.advance(LIMITS.silenceMaxMs + 1);
    expect([numLost, supervisor.phase]).toEqual([1, "paused"]);
    clock.advance(LIMITS.pauseMs);
    lives[1]!.ready();
    stuck!.exit("SIGKILL");
    expect([numLost, supervisor.phase, lives.length]).toEqual([1, "ready", 2]);
  });

  test("is not followed by another after `stop`", async () => {
    await supervisor.stop();
    expect(lives[0]!.isKilled).toBe(true);
    clock.advance(LIMITS.pauseMaxMs * 2);
    expect([lives.length, numLost, supervisor.phase]).toEqual([1, 0, "stopped"]);
  });

  test("is waited for without a loss where it dies while it loads", () => {
    lives[0]!.exit("SIGKILL");
    clock.advance(LIMITS.pauseMs);
    lives[1]!.say({ type: "failed", failure: { kind: "no_gpu", message: "The GPU is resetting." } });
    lives[1]!.exit("exit code 1");
    expect(numLost).toBe(1);
    expect(lines.at(-1)).toMatch(/starts again in 500 ms. The GPU is resetting./);
  });
});
