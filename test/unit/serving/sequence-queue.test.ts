/** The waiting line against a sorted list, and what priority does in an engine. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Sequence } from "../../../src/serving/sequence.ts";
import { SequenceQueue } from "../../../src/serving/sequence-queue.ts";
import { job, Rig } from "./harness.ts";

const sequence = (priority: number): Sequence => job([1], 1, { priority }).sequence;

test("lower priorities first, then by arrival; who was put in front is before all of them", () => {
  const operation = fc.record({
    kind: fc.constantFrom("back", "back", "front", "take", "remove"),
    priority: fc.integer({ min: -2, max: 2 }),
    at: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const queue = new SequenceQueue();
      const front: Sequence[] = [];
      let back: Sequence[] = [];
      for (const { kind, priority, at } of operations) {
        const one = sequence(priority);
        if (kind === "back") {
          queue.pushBack(one);
          // A stable sort keeps the order of arrival.
          back = [...back, one].sort((a, b) => a.priority - b.priority);
        } else if (kind === "front") {
          queue.pushFront(one);
          front.unshift(one);
        } else {
          const all = [...front, ...back];
          const gone = kind === "take" ? all[0] : all[at];
          if (gone === undefined) continue;
          queue.remove(gone);
          for (const list of [front, back]) if (list.includes(gone)) list.splice(list.indexOf(gone), 1);
        }
        const expected = [...front, ...back];
        expect([...queue]).toEqual(expected);
        expect(queue.first).toBe(expected[0] ?? null);
        expect(queue).toHaveLength(expected.length);
      }
    }),
  );
});

test("a waiting request with a lower priority passes those that came before it, and nobody who runs", () => {
  const rig = new Rig({}, { numWaitingMax: 8, numRunningMax: 1 });
  const jobs = [0, 5, 0, -3].map((priority) => job([1, 2, 3], 4, { priority }));
  const ended: number[] = [];
  for (const [i, { sequence, probe }] of jobs.entries()) {
    const finished = probe.finished.bind(probe);
    probe.finished = (reason) => {
      ended.push(i);
      finished(reason);
    };
    rig.engine.add([sequence]);
    // The first one runs before the others come.
    rig.engine.step();
  }
  while (ended.length < jobs.length) rig.engine.step();
  expect(ended).toEqual([0, 3, 2, 1]);
});
