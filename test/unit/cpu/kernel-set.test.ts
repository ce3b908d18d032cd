import { describe, expect, test } from "vitest";
import { chooseKernelSet, KERNEL_SETS, supportsKernelSet } from "../../../src/backends/cpu/kernel-set.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

const modules = kernelModules();

describe("chooseKernelSet", () => {
  test("takes the fastest that the host supports", () => {
    expect(chooseKernelSet(modules, () => true).set).toBe("relaxed");
    expect(chooseKernelSet(modules, (set) => set !== "relaxed").set).toBe("simd128");
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

test("this host runs all three: no test of this folder is left out", () => {
  expect(KERNEL_SETS.filter(supportsKernelSet)).toEqual(["relaxed", "simd128", "scalar"]);
});
