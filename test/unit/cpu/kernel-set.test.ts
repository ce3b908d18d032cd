import { describe, expect, test } from "vitest";
import {
  chooseKernelSet,
  hasSingleDot32,
  KERNEL_SETS,
  supportsKernelSet,
} from "../../../src/backends/cpu/kernel-set.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

const modules = kernelModules();

describe("chooseKernelSet", () => {
  test("takes the fastest that the host supports", () => {
    const [fast, slow] = [() => true, () => false];
    expect(chooseKernelSet(modules, () => true, fast).set).toBe("dot32");
    expect(chooseKernelSet(modules, () => true, slow).set).toBe("relaxed");
    expect(chooseKernelSet(modules, (set) => set === "simd128" || set === "scalar", fast).set).toBe("simd128");
    expect(chooseKernelSet(modules, (set) => set === "scalar").set).toBe("scalar");
  });

  test("takes what it was given", () => {
    const { scalar } = modules;
    expect(chooseKernelSet({ scalar: scalar! })).toEqual({ set: "scalar", module: scalar });
  });

  test("says what is missing", () => {
    expect(() => chooseKernelSet({})).toThrow(/\(none\)/);
    expect(() => chooseKernelSet({ relaxed: modules.relaxed! }, () => false)).toThrow(/\(relaxed\).*scalar/);
  });
});

test("takes the 32-bit dot where it is all there is", () => {
  expect(chooseKernelSet({ dot32: modules.dot32! }, undefined, () => false).set).toBe("dot32");
});

test("the probe tells one of the three known instructions", () => {
  const probe = new WebAssembly.Instance(modules.dot32!).exports.probe_dot32 as () => number;
  expect([129_540, -508, 65_534]).toContain(probe());
  expect(hasSingleDot32(modules.dot32!)).toBe(probe() !== 65_534);
});

test("this host runs all four: no test of this folder is left out", () => {
  expect(KERNEL_SETS.filter(supportsKernelSet)).toEqual(["dot32", "relaxed", "simd128", "scalar"]);
});
