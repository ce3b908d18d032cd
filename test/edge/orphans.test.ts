import { expect, test } from "vitest";
import { OrphanWatch, UNDRIVEN_MAX_MS } from "../../src/edge/orphans.ts";

function watchWithClock() {
  const clock = { nowMs: 0 };
  const aborted: string[] = [];
  const named = (name: string) => ({ isDrained: false, abort: () => void aborted.push(name) });
  return { clock, aborted, named, watch: new OrphanWatch(() => clock.nowMs) };
}

test("what is driven lives, what is left alone is aborted once", () => {
  const { clock, aborted, named, watch } = watchWithClock();
  const [read, left] = [named("read"), named("left")];
  watch.add(read, "a");
  watch.add(left, "b");
  for (let i = 0; i < 40; i++) {
    clock.nowMs += UNDRIVEN_MAX_MS / 20;
    watch.driven(read);
    watch.sweep();
  }
  expect(aborted).toEqual(["left"]);
  expect(watch.numLive).toBe(1);
});

test("what has ended is forgotten", () => {
  const { clock, aborted, named, watch } = watchWithClock();
  const done = named("done");
  watch.add(done, "a");
  watch.ended(done);
  for (let i = 0; i < 20; i++) {
    clock.nowMs += UNDRIVEN_MAX_MS / 10;
    watch.sweep();
  }
  expect(aborted).toEqual([]);
  expect(watch.numLive).toBe(0);
});

test("an owner that starts anew loses its own and nobody else's", () => {
  const { aborted, named, watch } = watchWithClock();
  watch.add(named("mine"), "me");
  watch.add(named("theirs"), "them");
  watch.ownerRestarted("me");
  expect(aborted).toEqual(["mine"]);
  expect(watch.numLive).toBe(1);
});

test("what was read to its end counts no more, though its owner never said so", () => {
  const { clock, aborted, named, watch } = watchWithClock();
  const cancelled = named("cancelled");
  watch.add(cancelled, "a");
  cancelled.isDrained = true;
  expect(watch.numLive).toBe(0);
  for (let i = 0; i < 20; i++) {
    clock.nowMs += UNDRIVEN_MAX_MS / 10;
    watch.sweep();
  }
  expect(aborted).toEqual([]);
});

test.each([
  ["a day forward", 86_400_000],
  ["a day back", -86_400_000],
])("a clock that jumps %s ends no live stream and keeps no dead one", (_, jumpMs) => {
  const { clock, aborted, named, watch } = watchWithClock();
  const [one, other] = [named("one"), named("other")];
  watch.add(one, "a");
  watch.add(other, "b");
  watch.add(named("left"), "c");
  for (let i = 0; i < 60; i++) {
    clock.nowMs += i === 10 || i === 30 ? jumpMs : 3_000;
    watch.driven(i % 2 === 0 ? one : other);
    watch.sweep();
    // A jump counts as ten seconds at most.
    if (i < 15) expect(aborted).toEqual([]);
  }
  expect(aborted).toEqual(["left"]);
  expect(watch.numLive).toBe(2);
});
