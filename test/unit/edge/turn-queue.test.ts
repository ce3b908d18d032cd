import { expect, test } from "vitest";
import { TurnQueue } from "../../../src/edge/turn-queue.ts";

test("the place goes from hand to hand in the order of arrival, and nobody gets in between", async () => {
  const queue = new TurnQueue();
  const order: string[] = [];
  const take = async (name: string) => {
    const place = await queue.take();
    order.push(name);
    return place;
  };
  const first = take("first");
  expect(queue.isTaken).toBe(true);
  const [second, third] = [take("second"), take("third")];
  expect(queue.numWaiting).toBe(2);
  const place = await first;
  place.pass();
  place.pass();
  expect([queue.isTaken, queue.numWaiting]).toEqual([true, 1]);
  const late = take("late");
  (await second).pass();
  (await third).pass();
  expect(order).toEqual(["first", "second", "third"]);
  (await late).pass();
  place.pass();
  expect([queue.isTaken, queue.numWaiting]).toEqual([false, 0]);
});
