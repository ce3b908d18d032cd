/** The text that Prometheus reads, read back by the rules of its format. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { METRICS } from "../../../src/edge/metrics/catalog.ts";
import { exposition } from "../../../src/edge/metrics/exposition.ts";
import { addMetrics, count, emptyMetrics, observe } from "../../../src/edge/metrics/metrics-data.ts";
import { parseExposition } from "../../support/exposition-parser.ts";

test("any text in a label comes back as it was", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string(), (model, route) => {
      const data = emptyMetrics();
      count(data, "edge_requests_total", [route, model, "200"], 3);
      const { samples } = parseExposition(exposition(data, {}));
      expect(samples).toEqual([{ name: "edge_requests_total", labels: { route, model, status: "200" }, value: 3 }]);
    }),
  );
});

test("buckets are cumulative, end with +Inf, and agree with sum and count", () => {
  const name = "edge_time_to_first_token_seconds";
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 500, noNaN: true }), { minLength: 1 }), (values) => {
      const data = emptyMetrics();
      for (const value of values) observe(data, name, ["m", "edge"], value);
      const { samples } = parseExposition(exposition(data, {}));
      const buckets = samples.filter((sample) => sample.name === `${name}_bucket`);
      expect(buckets.map(({ labels }) => labels.le)).toEqual([...METRICS[name].bounds.map(String), "+Inf"]);
      for (const { labels, value } of buckets) {
        expect(value).toBe(values.filter((each) => each <= Number(labels.le!.replace("+Inf", "Infinity"))).length);
      }
      const read = (suffix: string) => samples.find((sample) => sample.name === `${name}${suffix}`)!.value;
      expect(read("_count")).toBe(values.length);
      expect(read("_sum")).toBeCloseTo(
        values.reduce((sum, value) => sum + value, 0),
        6,
      );
    }),
  );
});

test("what isolates counted adds up, in whatever pieces it comes", () => {
  const events = fc.array(fc.tuple(fc.constantFrom("a", "b"), fc.integer({ min: 0, max: 100 }), fc.nat(3)));
  fc.assert(
    fc.property(events, (all) => {
      const whole = emptyMetrics();
      const pieces = [0, 1, 2, 3].map(() => emptyMetrics());
      for (const [model, value, piece] of all) {
        for (const data of [whole, pieces[piece]!]) {
          count(data, "edge_generation_tokens_total", [model, "edge"], value);
          observe(data, "edge_decode_duration_seconds", [model, "edge"], value);
        }
      }
      const total = emptyMetrics();
      for (const piece of pieces) addMetrics(total, piece);
      expect(total).toEqual(whole);
    }),
  );
});

test("every metric is described, also where nothing was counted", () => {
  const { types } = parseExposition(exposition(emptyMetrics(), {}));
  expect(types).toEqual(Object.fromEntries(Object.entries(METRICS).map(([name, { type }]) => [name, type])));
});

test("series of one metric have a bound", () => {
  const data = emptyMetrics();
  for (let i = 0; i < 3000; i++) count(data, "edge_prompt_tokens_total", [`model ${i}`, "edge"]);
  const series = data.counters.edge_prompt_tokens_total!;
  expect(Object.keys(series).length).toBe(1001);
  expect(Object.values(series).reduce((sum, value) => sum + value, 0)).toBe(3000);
});

test("names and units are as Prometheus advises", () => {
  for (const [name, { type, unit }] of Object.entries(METRICS)) {
    expect(name).toMatch(/^edge_[a-z_]+$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
    if (type === "histogram") expect(name).toMatch(new RegExp(`_${unit}$`));
  }
});
