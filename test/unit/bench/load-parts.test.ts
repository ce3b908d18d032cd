/** The parts of the load generator that need no server: arrivals, prompts, service levels, arguments. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arrivalTimesMs, gammaVariate } from "../../../scripts/bench/load/arrivals.ts";
import { parseGoodput } from "../../../scripts/bench/load/goodput.ts";
import { parseLoadOptions } from "../../../scripts/bench/load/load-options.ts";
import { FIRST_TOKEN_ID, prefixRequests, randomRequests, wordsOf } from "../../../scripts/bench/load/prompts.ts";
import { UsageError } from "../../../scripts/model/errors.ts";
import { uniformSource } from "../../support/random.ts";

describe("arrivals", () => {
  const gaps = (times: readonly number[]) => times.map((time, i) => time - (times[i - 1] ?? 0));
  const coefficientOfVariation = (values: readonly number[]) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) / mean;
  };

  test("are the same for the same seed, and others for another", () => {
    const process = { ratePerS: 5, burstiness: 1 };
    const of = (seed: number) => arrivalTimesMs(50, process, uniformSource(seed));
    expect(of(3)).toEqual(of(3));
    expect(of(3)).not.toEqual(of(4));
  });

  test("offer the wanted rate whatever the seed: the last of n comes at n ÷ rate", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.double({ min: 0.1, max: 1000, noNaN: true }),
        fc.constantFrom(0.2, 1, 5, Number.POSITIVE_INFINITY),
        fc.integer(),
        (numRequests, ratePerS, burstiness, seed) => {
          const times = arrivalTimesMs(numRequests, { ratePerS, burstiness }, uniformSource(seed));
          expect(times).toHaveLength(numRequests);
          expect(times.at(-1)! / ((1000 * numRequests) / ratePerS)).toBeCloseTo(1, 9);
          expect(gaps(times).every((gap) => gap >= 0)).toBe(true);
        },
      ),
    );
  });

  test.each([0.25, 1, 4])("with burstiness %d vary as a gamma process: the gaps' variation is 1/√burstiness", (b) => {
    const times = arrivalTimesMs(20_000, { ratePerS: 10, burstiness: b }, uniformSource(1));
    expect(coefficientOfVariation(gaps(times)) * Math.sqrt(b)).toBeCloseTo(1, 1);
  });

  test("of infinite burstiness come in equal gaps, and of an infinite rate at once", () => {
    const even = { ratePerS: 4, burstiness: Number.POSITIVE_INFINITY };
    expect(arrivalTimesMs(3, even, uniformSource(1))).toEqual([250, 500, 750]);
    const atOnce = { ratePerS: Number.POSITIVE_INFINITY, burstiness: 1 };
    expect(arrivalTimesMs(3, atOnce, uniformSource(1))).toEqual([0, 0, 0]);
  });

  test.each([0.3, 1, 7.5])("a gamma variate of shape %d has that mean and that variance", (shape) => {
    const uniform = uniformSource(9);
    const samples = Array.from({ length: 50_000 }, () => gammaVariate(shape, uniform));
    const mean = samples.reduce((sum, one) => sum + one, 0) / samples.length;
    const variance = samples.reduce((sum, one) => sum + (one - mean) ** 2, 0) / samples.length;
    expect(mean / shape).toBeCloseTo(1, 1);
    expect(variance / shape).toBeCloseTo(1, 1);
  });
});

describe("prompts", () => {
  const source = (seed = 1) => ({ vocabSize: 500, uniform: uniformSource(seed) });
  const lengths = { inputTokens: 100, outputTokens: 20, spread: 0 };

  test("have the wanted lengths, ids of the vocabulary, and are the same for the same seed", () => {
    const requests = randomRequests(20, lengths, source());
    expect(requests).toHaveLength(20);
    for (const { prompt, outputTokens } of requests) {
      expect(prompt).toHaveLength(100);
      expect(outputTokens).toBe(20);
      expect(Math.min(...prompt)).toBeGreaterThanOrEqual(FIRST_TOKEN_ID);
      expect(Math.max(...prompt)).toBeLessThan(500);
    }
    expect(randomRequests(20, lengths, source())).toEqual(requests);
    expect(randomRequests(20, lengths, source(2))).not.toEqual(requests);
  });

  test("spread over the whole range", () => {
    const requests = randomRequests(500, { ...lengths, spread: 0.5 }, source());
    const inputs = requests.map(({ prompt }) => prompt.length);
    expect([Math.min(...inputs), Math.max(...inputs)]).toEqual([50, 150]);
    const outputs = requests.map(({ outputTokens }) => outputTokens);
    expect([Math.min(...outputs), Math.max(...outputs)]).toEqual([10, 30]);
  });

  test("share prefixes, each as often as the others, in no order", () => {
    const shape = { numPrefixes: 3, prefixTokens: 16, suffixTokens: 4 };
    const requests = prefixRequests(13, shape, 8, source());
    const prefixes = requests.map(({ prompt }) => prompt.slice(0, 16).join());
    const counts = [...new Set(prefixes)].map((prefix) => prefixes.filter((one) => one === prefix).length);
    expect(counts).toEqual([4, 4, 4]);
    expect(new Set(requests.map(({ prompt }) => prompt.join())).size).toBe(12);
    expect(requests.every(({ prompt, outputTokens }) => prompt.length === 20 && outputTokens === 8)).toBe(true);
    expect(prefixes).not.toEqual([...prefixes].sort());
  });

  test("as text have a word for each number, another one for another number", () => {
    const numbers = Array.from({ length: 4000 }, (_, i) => i);
    const words = wordsOf(numbers).split(" ");
    expect(words).toHaveLength(4000);
    expect(new Set(words).size).toBe(4000);
  });
});

describe("service levels", () => {
  test("are read from the option", () => {
    expect(parseGoodput("ttft:500,tpot:50,e2el:10000")).toEqual({ ttft: 500, tpot: 50, e2el: 10_000 });
  });

  test.each(["", "ttft", "ttft:", "ttft:0", "ttft:-1", "itl:5", "ttft:soon", "ttft:5,"])("'%s' is refused", (text) => {
    expect(() => parseGoodput(text)).toThrow(UsageError);
  });
});

describe("arguments", () => {
  const needed = ["--url", "http://host:8788/v1/", "--model", "m"];

  test("have defaults that send everything at once", () => {
    expect(parseLoadOptions(needed)).toMatchObject({
      baseUrl: "http://host:8788/v1",
      label: "host:8788",
      ratesPerS: [Number.POSITIVE_INFINITY],
      maxConcurrencies: [Number.POSITIVE_INFINITY],
      goodput: null,
      ignoresEos: true,
    });
  });

  test("take lists of rates and bounds", () => {
    const options = parseLoadOptions([...needed, "--rate", "1,2.5,inf", "--max-concurrency", "8"])!;
    expect(options.ratesPerS).toEqual([1, 2.5, Number.POSITIVE_INFINITY]);
    expect(options.maxConcurrencies).toEqual([8]);
  });

  test.each([
    [["--model", "m"], "--url is ''"],
    [["--url", "nowhere", "--model", "m"], "--url is 'nowhere'"],
    [["--url", "http://host/v1"], "--model is missing"],
    [[...needed, "--rate", "0"], "--rate is '0'; it must be a number above 0, or inf."],
    [[...needed, "--rate", "1,"], "--rate is ''"],
    [[...needed, "--max-concurrency", "1.5"], "--max-concurrency is '1.5'; it must be a whole number."],
    [[...needed, "--range-ratio", "1"], "--range-ratio is '1'; it must be a number from 0 to 0.99."],
    [[...needed, "--input-len", "0"], "--input-len is '0'"],
    [[...needed, "--dataset", "sharegpt"], "--dataset is 'sharegpt'; it must be one of random, prefix."],
    [[...needed, "--dataset", "prefix", "--num-prompts", "3"], "--num-prompts is 3; with --num-prefixes 10"],
  ])("%j are refused", (args, message) => {
    expect(() => parseLoadOptions(args)).toThrow(message);
    expect(() => parseLoadOptions(args)).toThrow(UsageError);
  });

  test("may only ask for help", () => {
    expect(parseLoadOptions(["--help"])).toBeNull();
  });
});
