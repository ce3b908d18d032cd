/** The arguments of `npm run bench:origin`, checked. */
import { parseArgs } from "node:util";
import { UsageError } from "../../model/errors.ts";
import { parseChoice, parseCount } from "../command.ts";
import { parseGoodput, type ServiceLevels } from "./goodput.ts";
import type { PromptKind } from "./probe.ts";
import { FIRST_TOKEN_ID } from "./prompts.ts";
import type { Endpoint } from "./stream-request.ts";

export interface LoadOptions {
  /** Without a slash at its end. */
  baseUrl: string;
  model: string;
  endpoint: Endpoint;
  prompts: PromptKind | "auto";
  /** Name of an environment variable; null = no key. */
  keyFrom: string | null;
  dataset: "random" | "prefix";
  numPrompts: number;
  inputTokens: number;
  outputTokens: number;
  spread: number;
  numPrefixes: number;
  prefixTokens: number;
  suffixTokens: number;
  vocabSize: number;
  /** Each rate is run with each bound on concurrency. Infinity = all at once, no bound. */
  ratesPerS: number[];
  maxConcurrencies: number[];
  burstiness: number;
  numWarmups: number;
  goodput: ServiceLevels | null;
  temperature: number;
  ignoresEos: boolean;
  seed: number;
  timeoutS: number;
  label: string;
  json: string | null;
}

const OPTIONS = {
  url: { type: "string" },
  model: { type: "string" },
  endpoint: { type: "string", default: "completions" },
  prompts: { type: "string", default: "auto" },
  "key-from": { type: "string" },
  dataset: { type: "string", default: "random" },
  "num-prompts": { type: "string", default: "100" },
  "input-len": { type: "string", default: "1024" },
  "output-len": { type: "string", default: "128" },
  "range-ratio": { type: "string", default: "0" },
  "num-prefixes": { type: "string", default: "10" },
  "prefix-len": { type: "string", default: "256" },
  "suffix-len": { type: "string", default: "256" },
  "vocab-size": { type: "string", default: "1000" },
  rate: { type: "string", default: "inf" },
  "max-concurrency": { type: "string", default: "inf" },
  burstiness: { type: "string", default: "1" },
  warmup: { type: "string", default: "0" },
  goodput: { type: "string" },
  temperature: { type: "string", default: "0" },
  "respect-eos": { type: "boolean", default: false },
  seed: { type: "string", default: "0" },
  "timeout-s": { type: "string", default: "600" },
  label: { type: "string" },
  json: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

/** @returns null where only the help was asked for @throws UsageError */
export function parseLoadOptions(args: string[]): LoadOptions | null {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) return null;
  const count = (name: "num-prompts" | "input-len" | "output-len" | "num-prefixes" | "prefix-len" | "suffix-len") =>
    parseCount(`--${name}`, values[name], 1_000_000);
  if (values.url === undefined || !URL.canParse(values.url)) {
    throw new UsageError(
      `--url is '${values.url ?? ""}'; it must be the server's address, such as http://HOST:8788/v1.`,
    );
  }
  if (values.model === undefined) throw new UsageError("--model is missing: the name under which the server has it.");
  const numbers = (name: "rate" | "max-concurrency") =>
    values[name].split(",").map((text) => parseNumber(`--${name}`, text, 0, Number.POSITIVE_INFINITY, true));
  const options: LoadOptions = {
    baseUrl: values.url.replace(/\/+$/, ""),
    model: values.model,
    endpoint: parseChoice("--endpoint", values.endpoint, ["completions", "chat"]),
    prompts: parseChoice("--prompts", values.prompts, ["auto", "tokens", "text"]),
    keyFrom: values["key-from"] ?? null,
    dataset: parseChoice("--dataset", values.dataset, ["random", "prefix"]),
    numPrompts: count("num-prompts"),
    inputTokens: count("input-len"),
    outputTokens: count("output-len"),
    spread: parseNumber("--range-ratio", values["range-ratio"], 0, 0.99),
    numPrefixes: count("num-prefixes"),
    prefixTokens: count("prefix-len"),
    suffixTokens: count("suffix-len"),
    vocabSize: parseNumber("--vocab-size", values["vocab-size"], FIRST_TOKEN_ID + 1, 10_000_000),
    ratesPerS: numbers("rate"),
    maxConcurrencies: numbers("max-concurrency"),
    burstiness: parseNumber("--burstiness", values.burstiness, 0, Number.POSITIVE_INFINITY, true),
    numWarmups: parseNumber("--warmup", values.warmup, 0, 10_000),
    goodput: values.goodput === undefined ? null : parseGoodput(values.goodput),
    temperature: parseNumber("--temperature", values.temperature, 0, 2),
    ignoresEos: !values["respect-eos"],
    seed: parseNumber("--seed", values.seed, 0, 2 ** 32 - 1),
    timeoutS: parseCount("--timeout-s", values["timeout-s"], 86_400),
    label: values.label ?? new URL(values.url).host,
    json: values.json ?? null,
  };
  checkWhole(options);
  return options;
}

/** A prefix shared by no prompt would leave nothing to send; a part of a place would never be free. */
function checkWhole({ dataset, numPrompts, numPrefixes, maxConcurrencies, numWarmups, vocabSize }: LoadOptions): void {
  if (dataset === "prefix" && numPrompts < numPrefixes) {
    throw new UsageError(
      `--num-prompts is ${numPrompts}; with --num-prefixes ${numPrefixes} it must be at least that.`,
    );
  }
  const whole = { "--warmup": [numWarmups], "--vocab-size": [vocabSize], "--max-concurrency": maxConcurrencies };
  for (const [name, values] of Object.entries(whole)) {
    const broken = values.find((value) => !Number.isInteger(value) && value !== Number.POSITIVE_INFINITY);
    if (broken !== undefined) throw new UsageError(`${name} is '${broken}'; it must be a whole number.`);
  }
}

/** "inf" is infinity. @param isAbove whether `least` itself is too small */
function parseNumber(option: string, text: string, least: number, most: number, isAbove = false): number {
  const value = text.trim() === "inf" ? Number.POSITIVE_INFINITY : Number(text);
  const isIn = value <= most && (isAbove ? value > least : value >= least);
  if (text.trim() !== "" && isIn) return value;
  const range = `${isAbove ? "above" : "from"} ${least}${most === Number.POSITIVE_INFINITY ? ", or inf" : ` to ${most}`}`;
  throw new UsageError(`${option} is '${text}'; it must be a number ${range}.`);
}
