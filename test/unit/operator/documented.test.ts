/** docs/operations.md says what there is: every variable, every metric. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { METRICS, type MetricDefinition } from "../../../src/edge/metrics/catalog.ts";

const ROOT = join(import.meta.dirname, "../../..");
const operations = readFileSync(join(ROOT, "docs/operations.md"), "utf8");

/** Cells of the table under a heading, without its head. */
function tableUnder(heading: string): string[][] {
  const section = operations.split(/^## /m).find((each) => each.startsWith(`${heading}\n`));
  const lines = section!.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test("the table of variables is what the Worker reads", () => {
  const env = readFileSync(join(ROOT, "src/edge/env.ts"), "utf8");
  const variables = [...env.matchAll(/^ {2}([A-Z_]+)\?:/gm)].map(([, name]) => `\`${name}\``);
  expect(variables.length).toBeGreaterThan(10);
  expect(
    tableUnder("Variables")
      .map(([name]) => name!)
      .sort(),
  ).toEqual(variables.sort());
});

test("the table of metrics is the catalog", () => {
  const documented = tableUnder("Metrics").map((cells) => cells.slice(0, 5));
  const wanted = Object.entries(METRICS).map(([name, metric]: [string, MetricDefinition]) => [
    `\`${name}\``,
    metric.type,
    metric.unit,
    metric.labels.join(", "),
    metric.type === "histogram" ? metric.clock : "–",
  ]);
  expect(documented).toEqual(wanted);
});
