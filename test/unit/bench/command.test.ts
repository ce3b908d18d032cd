/** Arguments, the guard against busy machines, tables and the configuration of workerd. */
import { describe, expect, test } from "vitest";
import { parseChoice, parseCount } from "../../../scripts/bench/command.ts";
import { assertQuiet, cpuFlags } from "../../../scripts/bench/machine.ts";
import { markdownTable, textTable } from "../../../scripts/bench/table.ts";
import { workerdConfig } from "../../../scripts/bench/workerd-host.ts";
import { CommandError, UsageError } from "../../../scripts/model/errors.ts";

describe("arguments", () => {
  test("counts are whole numbers of at least 1", () => {
    expect(parseCount("--runs", "7")).toBe(7);
    for (const text of ["0", "-1", "1.5", "", " ", "five", "1e9"]) {
      expect(() => parseCount("--runs", text), text).toThrow(UsageError);
    }
    expect(() => parseCount("--streams", "65", 64)).toThrow(
      "--streams is '65'; it must be a whole number from 1 to 64.",
    );
  });

  test("choices are named in the refusal", () => {
    expect(parseChoice("--host", "node", ["node", "both"])).toBe("node");
    expect(() => parseChoice("--host", "deno", ["node", "both"])).toThrow(
      "--host is 'deno'; it must be one of node, both.",
    );
  });
});

describe("the machine", () => {
  test("that is busy is refused with the numbers, unless one insists", () => {
    expect(() => assertQuiet(false, [1.5, 0, 0], 2)).toThrow(CommandError);
    expect(() => assertQuiet(false, [1.5, 0, 0], 2)).toThrow("1.50, above 1 (half of its 2 cores)");
    expect(() => assertQuiet(true, [1.5, 0, 0], 2)).not.toThrow();
    expect(() => assertQuiet(false, [1, 9, 9], 2)).not.toThrow();
  });

  test.each([
    ["x86", "processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni sse2\n", ["avx2", "avx512_vnni"]],
    ["arm64", "Features\t: fp asimd asimddp\n", ["asimddp"]],
    ["a system without /proc", "", []],
  ])("names the flags that matter of %s", (_, cpuinfo, flags) => {
    expect(cpuFlags(cpuinfo)).toEqual(flags);
  });
});

test("tables align numbers to the right", () => {
  const rows = [
    ["decode", "7"],
    ["load", "1234"],
  ];
  expect(textTable(["measure", "median"], rows).split("\n")).toEqual([
    "measure  median",
    "───────  ──────",
    "decode        7",
    "load       1234",
  ]);
  expect(markdownTable(["a", "b"], [["1", "2"]])).toBe("| a | b |\n| --- | --: |\n| 1 | 2 |");
});

test("workerd gets the flags of V8, and paths are quoted", () => {
  const config = workerdConfig('/tmp/a "b"', ["--no-enable-avx-vnni"]);
  expect(config).toContain('v8Flags = ["--no-enable-avx-vnni"]');
  expect(config).toContain('disk = (path = "/tmp/a \\"b\\""');
});
