/** One alarm for several who want it. */
import { expect, test } from "vitest";
import { SessionAlarm } from "../../../src/edge/session-alarm.ts";

const MINUTE_MS = 60_000;

function alarmOf(due: (number | null)[]) {
  const calls: (number | null)[] = [];
  let isFailing = false;
  const set = async (ms: number | null) => {
    if (isFailing) throw new Error("storage");
    calls.push(ms);
  };
  const storage = { setAlarm: (ms: number) => set(ms), deleteAlarm: () => set(null) };
  const alarm = new SessionAlarm(storage as unknown as DurableObjectStorage, () => due);
  const failing = (is: boolean) => {
    isFailing = is;
  };
  return { alarm, calls, failing };
}

test("rings for the first of them, and is moved when that one is done", async () => {
  const due: (number | null)[] = [null, 100 * MINUTE_MS];
  const { alarm, calls } = alarmOf(due);
  await alarm.replan();
  due[0] = 5;
  await alarm.replan();
  due[0] = null;
  await alarm.replan();
  due[1] = null;
  await alarm.replan();
  await alarm.replan();
  expect(calls).toEqual([100 * MINUTE_MS, 5, 100 * MINUTE_MS, null]);
});

test("is not moved for less than a minute, unless forward", async () => {
  const due = [MINUTE_MS];
  const { alarm, calls } = alarmOf(due);
  for (const ms of [MINUTE_MS, MINUTE_MS + 59_000, 2 * MINUTE_MS, 2 * MINUTE_MS - 1]) {
    due[0] = ms;
    await alarm.replan();
  }
  expect(calls).toEqual([MINUTE_MS, 2 * MINUTE_MS, 2 * MINUTE_MS - 1]);
});

test("is set again after it rang, and after it could not be set", async () => {
  const { alarm, calls, failing } = alarmOf([7]);
  failing(true);
  await expect(alarm.replan()).rejects.toThrow("storage");
  failing(false);
  await alarm.replan();
  await alarm.replan();
  alarm.rang();
  await alarm.replan();
  expect(calls).toEqual([7, 7]);
});
