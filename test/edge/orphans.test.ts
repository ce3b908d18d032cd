import { expect, test } from "vitest";
import { OrphanWatch, UNDRIVEN_MAX_MS } from "../../src/edge/orphans.ts";

function watchWithClock() {
  const clock = { nowMs: 0 };
  const aborted: string[] = [];
  const named = (name: string) => ({ abort: () => void aborted.push(name) });
  return { clock, aborted, named, watch: new OrphanWatch(() => clock.nowMs) };
}

test("what is driven lives, what is left alone is aborted once", () => {
  const { clock, aborted, named, watch } = watchWithClock();
  const [read, left] = [named("read"), named("left")];
  watch.add(read, "a");
  watch.add(left, "b");
  for (let i = 0; i < 4; i++) {
    clock.nowMs += UNDRIVEN_MAX_MS / 2;
    watch.driven(read);
    watch.sweep();
  }
  expect(aborted).toEqual(["left"]);
  expect(watch.numWatched).toBe(1);
});

test("what has ended is forgotten", () => {
  const { clock, aborted, named, watch } = watchWithClock();
  const done = named("done");
  watch.add(done, "a");
  watch.ended(done);
  clock.nowMs += 2 * UNDRIVEN_MAX_MS;
  watch.sweep();
  expect(aborted).toEqual([]);
  expect(watch.numWatched).toBe(0);
});

test("an owner that starts anew loses its own and nobody else's", () => {
  const { aborted, named, watch } = watchWithClock();
  watch.add(named("mine"), "me");
  watch.add(named("theirs"), "them");
  watch.ownerRestarted("me");
  expect(aborted).toEqual(["mine"]);
  expect(watch.numWatched).toBe(1);
});
