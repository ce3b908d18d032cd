/**
 * Checks the tokenizers against reference ids: `node scripts/verify-vocab.ts --fixtures DIR`.
 *
 * DIR/vocab/X.gguf with X.gguf.inp (cases parted by a `__ggml_vocab_test__` line) and X.gguf.out (ids, one line a
 * case; no BOS, special parsing off); DIR/models/**\/X.gguf with X.expected.json (`prompt_text` → `prompt_ids`, special
 * parsing on, BOS as the file says; optional `tokenizer_cases`). With --memory also what a tokenizer takes and how long
 * it takes to build and to encode (wants `node --expose-gc`). Exit status 1 on any miss.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { ModelError } from "../src/model/errors.ts";
import { readGguf } from "../src/model/gguf-reader.ts";
import { memorySource } from "../src/model/source-memory.ts";
import { fromGguf } from "../src/text/from-gguf.ts";
import type { LibraryTokenizer } from "../src/text/library-tokenizer.ts";
import { verifyValues } from "./verify-values.ts";

const HELP = `Usage: node scripts/verify-vocab.ts --fixtures DIR [options]

Checks the tokenizers against reference ids.

  --fixtures DIR  has vocab/X.gguf with X.gguf.inp and X.gguf.out, and models/…/X.gguf with X.expected.json
  --memory        also what a tokenizer takes, and its speed (wants node --expose-gc)
  --help          this text

Exit codes: 0 everything is within its bounds, 1 something is not, 2 called wrongly.`;

interface Case {
  text: string;
  ids: number[];
  options: { addSpecialTokens: boolean; parseSpecial: boolean };
  /** Compare only as many ids as the reference has. */
  isCut?: boolean;
  detokenized?: string;
}

const values = verifyValues(HELP, () => {
  const options = {
    fixtures: { type: "string" },
    memory: { type: "boolean", default: false },
    help: { type: "boolean" },
  } as const;
  return parseArgs({ options }).values;
});
const root = values.fixtures;

let numMissed = 0;
const rows: Record<string, string | number>[] = [];
for (const path of globSync(join(root, "vocab", "*.gguf")).sort()) rows.push(await check(path, vocabularyCases(path)));
for (const path of globSync(join(root, "models", "**", "*.gguf")).sort()) {
  const expected = path.replace(/\.gguf$/, ".expected.json");
  if (!existsSync(expected)) continue;
  // Weights that no engine here reads stop the reader before the text does.
  const row = check(path, modelCases(expected)).catch((error: unknown) => {
    if (!(error instanceof ModelError) || error.kind !== "unsupported_type") throw error;
    return {
      file: relative(root, path),
      passed: error.message.replace(/^.*has the type/, "not read: type").slice(0, 40),
    };
  });
  rows.push(await row);
}
console.table(rows);
console.log(numMissed === 0 ? "All ids match." : `${numMissed} cases missed.`);
process.exitCode = numMissed === 0 ? 0 : 1;

async function check(path: string, cases: Case[]): Promise<Record<string, string | number>> {
  const { tokenizer, buildMs, heapBytes } = await load(path);
  let numPassed = 0;
  for (const one of cases) {
    const problem = problemOf(tokenizer, one);
    if (problem === null) numPassed++;
    else console.log(`${relative(root, path)}: ${problem}`);
  }
  numMissed += cases.length - numPassed;
  const row = { file: relative(root, path), tokens: tokenizer.vocabSize, passed: `${numPassed}/${cases.length}` };
  if (!values.memory) return row;
  const prose = "The quick brown fox can't jump over 3 lazy dogs.\n\nIn 1984, I'd say it's 37°C in São Paulo.\n".repeat(
    300,
  );
  const startMs = performance.now();
  const numTokens = tokenizer.encode(prose, { addSpecialTokens: false, parseSpecial: false }).length;
  const tokensPerS = Math.round((numTokens / (performance.now() - startMs)) * 1000);
  return { ...row, buildMs: Math.round(buildMs), heapMB: (heapBytes / 1e6).toFixed(1), tokensPerS };
}

function problemOf(tokenizer: LibraryTokenizer, { text, ids, options, isCut, detokenized }: Case): string | null {
  const encoded = tokenizer.encode(text, options);
  const found = isCut ? encoded.slice(0, ids.length) : encoded;
  if (found.join() !== ids.join()) return `${JSON.stringify(text)} gives ${found}, wants ${ids}`;
  if (detokenized !== undefined) {
    const decoded = tokenizer.decode(ids, { keepControl: true });
    if (decoded !== detokenized)
      return `${ids} decodes to ${JSON.stringify(decoded)}, wants ${JSON.stringify(detokenized)}`;
  }
  const roundTrip = new TextDecoder("utf-8", { ignoreBOM: true, fatal: false }).decode(bytesOf(tokenizer, encoded));
  // SentencePiece adds a space in front, and control tokens have no bytes.
  if (!options.parseSpecial && roundTrip !== text && roundTrip !== ` ${text}`) {
    return `${JSON.stringify(text)} comes back as ${JSON.stringify(roundTrip)}`;
  }
  return null;
}

function bytesOf(tokenizer: LibraryTokenizer, ids: number[]): Uint8Array {
  return Uint8Array.from(ids.flatMap((id) => [...tokenizer.tokenBytes(id)]));
}

interface Loaded {
  tokenizer: LibraryTokenizer;
  buildMs: number;
  /** All that stays once the file's header is gone, token texts included. */
  heapBytes: number;
}

async function load(path: string): Promise<Loaded> {
  const beforeBytes = heapUsedBytes();
  const { tokenizer, buildMs } = await read(path);
  return { tokenizer, buildMs, heapBytes: heapUsedBytes() - beforeBytes };
}

async function read(path: string): Promise<Omit<Loaded, "heapBytes">> {
  const { header, data } = await readGguf(memorySource(readFileSync(path), path));
  await data.cancel();
  const startMs = performance.now();
  const tokenizer = fromGguf(header);
  return { tokenizer, buildMs: performance.now() - startMs };
}

function heapUsedBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function vocabularyCases(path: string): Case[] {
  const texts = readFileSync(`${path}.inp`, "utf8").split("\n__ggml_vocab_test__\n");
  const lines = readFileSync(`${path}.out`, "utf8").split("\n");
  const options = { addSpecialTokens: false, parseSpecial: false };
  // The file ends with one separator, so the last piece is no case.
  return texts.slice(0, -1).map((text, i) => ({ text, ids: numbers(lines[i] ?? ""), options }));
}

function modelCases(path: string): Case[] {
  const expected = JSON.parse(readFileSync(path, "utf8"));
  const options = { addSpecialTokens: true, parseSpecial: true };
  const own: Case = { text: expected.prompt_text, ids: expected.prompt_ids, options, isCut: true };
  const more: Case[] = (expected.tokenizer_cases ?? []).map((one: Case) => ({ ...one, options }));
  return [own, ...more];
}

function numbers(line: string): number[] {
  return line.split(" ").filter(Boolean).map(Number);
}
