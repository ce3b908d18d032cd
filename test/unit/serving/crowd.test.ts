/**
 * A thousand sessions, two dozen of them at a time, over a pool with room for twenty: who is not there is in its archive and
 * comes back with all it had, whatever else happens to it or to the engine. `test/edge/faults/crowd.test.ts` does the same
 * with real objects and real storage, and fewer of them.
 */
import { expect, test, vi } from "vitest";
import { BackendCrash } from "../../../src/serving/backend.ts";
import { uniformSource } from "../../support/random.ts";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { MapArchive } from "./map-archive.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const NUM_SESSIONS = 1000;
const NUM_AT_ONCE = 24;
const BLOCK_TOKENS = 4;
const NUM_PROMPT = 28;
const NUM_ANSWER = 6;
const NUM_BLOCKS = 20 * Math.ceil((NUM_PROMPT + NUM_ANSWER) / BLOCK_TOKENS);
const CHECKED_EVERY = 16;
const EVENTS = ["turn", "turn", "turn", "regenerate", "edit", "fork", "stop", "leave", "crash"] as const;

interface Session {
  salt: string;
  tokens: number[];
  archive: MapArchive;
}

/** Full blocks of what was computed: all but the last token. */
const numKept = ({ tokens }: Session) => Math.floor((tokens.length - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;

class Crowd {
  readonly rig = new Rig({ numBlocks: NUM_BLOCKS, blockTokens: BLOCK_TOKENS }, { movedTokensPerStep: 16 });
  #numSteps = 0;

  /** One turn, as its session drives it; others have theirs at each `yield`. @param numSteps after which it is aborted */
  *turn(
    session: Session,
    prompt: number[],
    numTokens: number,
    numSteps = Number.POSITIVE_INFINITY,
  ): Generator<void, Job> {
    const { rig } = this;
    const asked = job(prompt, numTokens, { cacheSalt: session.salt, archive: session.archive });
    rig.engine.add([asked.sequence]);
    for (let i = 0; asked.probe.end === null && i < numSteps; i++) {
      if (!rig.engine.isAlive) this.#revive();
      if (!rig.engine.restoreSome(asked.sequence)) this.#step();
      yield;
    }
    rig.engine.abort(asked.sequence);
    expect(asked.probe.error).toBeNull();
    expect(expected(asked).slice(0, asked.probe.tokens.length)).toEqual(asked.probe.tokens);
    session.tokens = [...prompt, ...asked.probe.tokens];
    for (let isWhole = false; !isWhole; ) {
      const progress = rig.engine.saveBlocks(session.tokens, session.salt, session.archive);
      isWhole = progress === null || progress.isWhole;
      if (isWhole && progress !== null) session.archive.cut(progress.numKept);
      // An object looks again after a pause, and whoever runs has moved on by then.
      if (rig.engine.stats.numRunning > 0) this.#step();
      yield;
    }
    return asked;
  }

  *live(session: Session, event: (typeof EVENTS)[number]): Generator<void, unknown> {
    const { tokens } = session;
    const next = [...tokens, ...tokensFrom(tokens.length, 5)];
    // What is in its archive is found again, at once or in pieces.
    const numCachedMin = session.archive.rows.size * BLOCK_TOKENS;
    const findsAll = ({ sequence, probe }: Job) => {
      expect(probe.tokens).toEqual(expected({ sequence, probe }));
      if (this.rig.crashes.length === numCrashes) expect(sequence.numCachedTokens).toBe(numCachedMin);
    };
    const numCrashes = this.rig.crashes.length;
    if (event === "turn") findsAll(yield* this.turn(session, next, NUM_ANSWER));
    else if (event === "regenerate") yield* this.turn(session, tokens.slice(0, NUM_PROMPT), NUM_ANSWER);
    else if (event === "edit") yield* this.turn(session, [...tokens.slice(0, 9), 1, 2, 3], NUM_ANSWER);
    else if (event === "stop" || event === "leave") yield* this.turn(session, next, 30, event === "stop" ? 4 : 1);
    else if (event === "fork") {
      const archive = new MapArchive();
      for (const [index, row] of session.archive.rows) archive.rows.set(index, { ...row });
      findsAll(yield* this.turn({ salt: `${session.salt}-fork`, tokens, archive }, next, NUM_ANSWER));
    } else if (event === "crash") {
      this.rig.backend.nextError = new BackendCrash("trap");
      yield* this.turn(session, next, NUM_ANSWER);
    }
    return event;
  }

  /** Runs tasks, at most so many at a time, in a random order of their pieces. */
  run(tasks: Iterable<Generator<void, unknown>>, random: () => number): void {
    const rest = tasks[Symbol.iterator]();
    const running: Generator<void, unknown>[] = [];
    for (let numTurns = 0; ; numTurns++) {
      if (numTurns > 1_000_000) throw new Error("The crowd does not come to rest.");
      while (running.length < NUM_AT_ONCE) {
        const { value, done } = rest.next();
        if (done) break;
        running.push(value);
      }
      if (running.length === 0) return;
      const at = Math.floor(random() * running.length);
      if (running[at]!.next().done) running.splice(at, 1);
    }
  }

  #step(): void {
    // Looking at every block takes longer than a step.
    if (++this.#numSteps % CHECKED_EVERY === 0) this.rig.step();
    else this.rig.engine.step();
  }

  #revive(): void {
    const { backend, engine } = this.rig;
    backend.poison(Array.from({ length: NUM_BLOCKS }, (_, block) => block));
    engine.replaceBackend(backend);
  }
}

test("1,000 sessions with a pool for 20: none loses a block that it had, none leaves one behind", () => {
  const crowd = new Crowd();
  const random = uniformSource(4);
  const sessions = Array.from({ length: NUM_SESSIONS }, (_, i) => {
    return { salt: `session:${i}`, tokens: [] as number[], archive: new MapArchive() };
  });
  const prompts = sessions.map((_, i) => tokensFrom(i % 4, NUM_PROMPT));
  const { rig } = crowd;
  crowd.run(
    sessions.map((session, i) => crowd.turn(session, prompts[i]!, NUM_ANSWER)),
    random,
  );
  expect(rig.engine.stats.numRestoredTokens).toBe(0);
  for (const session of sessions) expect(session.archive.rows.size * BLOCK_TOKENS).toBe(numKept(session));

  const drawn = sessions.map((session) => ({
    session,
    event: EVENTS[Math.floor(random() * EVENTS.length)]!,
    at: random(),
  }));
  drawn.sort((a, b) => a.at - b.at);
  crowd.run(
    drawn.map(({ session, event }) => crowd.live(session, event)),
    random,
  );
  const { numRunning, numWaiting, numUnsaved, numFreeBlocks, numRestoredTokens } = rig.engine.stats;
  expect({ numRunning, numWaiting, numUnsaved, numFreeBlocks }).toEqual({
    numRunning: 0,
    numWaiting: 0,
    numUnsaved: 0,
    numFreeBlocks: NUM_BLOCKS,
  });
  expect(rig.crashes.length).toBeGreaterThan(50);
  expect(rig.faults).toEqual(rig.crashes);
  // Nearly all of it came from archives: the pool had forgotten most of them.
  expect(numRestoredTokens).toBeGreaterThan(0.6 * NUM_SESSIONS * NUM_PROMPT);
});
