/** The committed modules: built from these sources, small, free of imports, each with the instructions its name says. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { packageProblems } from "../../../scripts/wasm/manifest.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import { compile } from "../../support/kernel-modules.ts";

const ROOT = new URL("../../..", import.meta.url).pathname.replace(/\/$/, "");
const PKG = process.env.RUNNEL_WASM_PKG ?? `${ROOT}/wasm/pkg`;
const MODULE_BYTES_MAX = 300 * 1024;

test("modules and sources belong together", () => {
  expect(packageProblems(ROOT, PKG)).toEqual([]);
});

describe.each(KERNEL_SETS)("%s", (set) => {
  const path = `${PKG}/runnel_${set}.wasm`;
  const module = compile(readFileSync(path));

  test("imports nothing and is small", () => {
    expect(WebAssembly.Module.imports(module)).toEqual([]);
    expect(readFileSync(path).length).toBeLessThan(MODULE_BYTES_MAX);
  });

  test("uses the instructions of its set and no others", () => {
    const text = execFileSync(`${ROOT}/node_modules/.bin/wasm-dis`, ["--all-features", path], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    expect(text.includes("v128")).toBe(set !== "scalar");
    expect(text.includes("relaxed")).toBe(set === "relaxed" || set === "dot32");
    const has = (...names: string[]) => names.some((name) => text.includes(name));
    expect(has("i16x8.relaxed_dot_i8x16_i7x16_s", "i16x8.dot_i8x16_i7x16_s")).toBe(set === "relaxed");
    expect(has("i32x4.relaxed_dot_i8x16_i7x16_add_s", "i32x4.dot_i8x16_i7x16_add_s")).toBe(set === "dot32");
  });
});
