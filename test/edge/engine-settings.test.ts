import { expect, test } from "vitest";
import { kvPrecisionFrom, sessionKvDaysFrom, speculationFrom, turnCpuMsFrom } from "../../src/edge/engine-settings.ts";

test("SPECULATION is auto, off or a number of drafts, or an error that says so", () => {
  expect(speculationFrom(undefined)).toBe("auto");
  expect(speculationFrom("auto")).toBe("auto");
  expect(speculationFrom("off")).toBe("off");
  expect(speculationFrom("8")).toEqual({ maxDrafts: 8 });
  for (const wrong of ["", "on", "0", "9", "2.5", "-1"]) expect(() => speculationFrom(wrong)).toThrow(`'${wrong}'`);
});

test("KV_PRECISION is auto or a precision, or an error that names them", () => {
  expect(kvPrecisionFrom(undefined)).toBeNull();
  expect(kvPrecisionFrom("auto")).toBeNull();
  for (const precision of ["f32", "f16", "q8", "i16"]) expect(kvPrecisionFrom(precision)).toBe(precision);
  for (const wrong of ["", "Q8", "int8"]) expect(() => kvPrecisionFrom(wrong)).toThrow("f32, f16, q8, i16");
});

test("SESSION_KV_DAYS is a number of days, or an error that says so", () => {
  expect(sessionKvDaysFrom(undefined)).toBe(7);
  expect(sessionKvDaysFrom("0")).toBe(0);
  expect(sessionKvDaysFrom("365")).toBe(365);
  for (const wrong of ["", " ", "a week", "-1", "0.5", "366"])
    expect(() => sessionKvDaysFrom(wrong)).toThrow(`'${wrong}'`);
});

test("TURN_CPU_MS is a number of milliseconds, or an error that says so", () => {
  expect(turnCpuMsFrom(undefined)).toBe(20_000);
  expect(turnCpuMsFrom("1")).toBe(1);
  expect(turnCpuMsFrom("300000")).toBe(300_000);
  for (const wrong of ["", " ", "20s", "0", "-1", "1.5", "300001"])
    expect(() => turnCpuMsFrom(wrong)).toThrow(`'${wrong}'`);
});
