import { expect, test } from "vitest";
import { speculationFrom } from "../../src/edge/speculation-setting.ts";

test("SPECULATION is auto, off or a number of drafts, or an error that says so", () => {
  expect(speculationFrom(undefined)).toBe("auto");
  expect(speculationFrom("auto")).toBe("auto");
  expect(speculationFrom("off")).toBe("off");
  expect(speculationFrom("8")).toEqual({ maxDrafts: 8 });
  for (const wrong of ["", "on", "0", "9", "2.5", "-1"]) expect(() => speculationFrom(wrong)).toThrow(`'${wrong}'`);
});
