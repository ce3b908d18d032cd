#!/usr/bin/env node
// Scores any OpenAI-compatible server on the evaluation set of the demo model: the very same cases and rules as
// evaluate.py (see demo/scoring.py for the reasons). Needs Node 20 or newer and nothing else.
//
//   node scripts/demo-model/evaluate.mjs --url http://127.0.0.1:8787 --model runnel-demo

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HOME = dirname(fileURLToPath(import.meta.url));
const KINDS = ["answer", "short", "why", "example", "simple"];
const SHORT_OPENING = "In one sentence:";
const BARS = { topic: 0.9, greeting: 0.95, identity: 0.95 };
const MIN_OVERLAP = 0.6;
const NUM_LOOP_WORDS = 8;
const MAX_LOOP_REPEATS = 2;
const MAX_TOKENS = 300;
const HELP = `Scores an OpenAI-compatible server on the demo model's evaluation set.

  --url URL      base address (default http://127.0.0.1:8787)
  --model NAME   model id (default runnel-demo)
  --json FILE    write every reply and the scores here
  --show-wrong   print the replies that were judged wrong

Exit codes: 0 above the quality bar, 1 below it, 2 the server could not be used.`;

const readJson = (...path) => JSON.parse(readFileSync(join(HOME, ...path), "utf8"));
const readAll = (folder) =>
  readdirSync(join(HOME, folder))
    .filter((name) => name.endsWith(".json"))
    .sort()
    .flatMap((name) => readJson(folder, name));

const wordsOf = (text) => text.toLowerCase().match(/[a-z0-9]+/g) ?? [];

function countRuns(words, length) {
  const runs = new Map();
  for (let start = 0; start + length <= words.length; start++) {
    const run = words.slice(start, start + length).join(" ");
    runs.set(run, (runs.get(run) ?? 0) + 1);
  }
  return runs;
}

const wordPairs = (text) => countRuns(wordsOf(text), 2);
const total = (bag) => [...bag.values()].reduce((sum, count) => sum + count, 0);

function common(first, second) {
  let sum = 0;
  for (const [pair, count] of first) sum += Math.min(count, second.get(pair) ?? 0);
  return sum;
}

function overlap(first, second) {
  const size = total(first) + total(second);
  return size === 0 ? 0 : (2 * common(first, second)) / size;
}

function loadReferences() {
  const facts = readJson("data", "facts.json");
  const fill = (text) => text.replace(/\{(millions|layers|context)\}/g, (_, key) => facts[key]);
  const topics = readAll("topics");
  const unknown = readJson("data", "unknown.json");
  const references = [];
  const add = (owner, kind, text) => references.push({ owner, kind, pairs: wordPairs(fill(text)) });
  for (const topic of topics) {
    for (const kind of KINDS) add(topic.id, kind, kind === "short" ? `${SHORT_OPENING} ${topic[kind]}` : topic[kind]);
    add(topic.id, "more", `${topic.why} ${topic.example}`);
  }
  for (const entry of [...readJson("data", "persona.json"), ...readJson("data", "smalltalk.json")]) {
    add(entry.id, "reply", entry.reply);
  }
  for (const category of unknown.categories) add("unknown", "reply", `${category.open} ${unknown.tail}`);
  add("unknown", "reply", unknown.nonsense.reply);
  add("unknown-why", "reply", unknown.followReplies.why);
  add("unknown", "reply", unknown.followReplies.again);
  add("no-context", "reply", unknown.noContext.reply);
  const shorts = new Map(topics.map((topic) => [topic.id, wordPairs(fill(topic.short))]));
  return { references, shorts };
}

function bestReference(reply, references) {
  const pairs = wordPairs(reply);
  let best = { score: -1, reference: references[0] };
  for (const reference of references) {
    const score = overlap(pairs, reference.pairs);
    if (score > best.score) best = { score, reference };
  }
  return best;
}

function countOccurrences(text, part) {
  let count = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function holds(reply, expect, { references, shorts }) {
  if (expect.story !== undefined) {
    const named = wordsOf(expect.story).join(" ");
    const head = wordsOf(reply.split(".")[0]).join(" ");
    return countOccurrences(wordsOf(reply).join(" "), named) >= 2 && head.includes(named);
  }
  if (expect.compare !== undefined) {
    const pairs = wordPairs(reply);
    return expect.compare.every((id) => common(shorts.get(id), pairs) >= 0.7 * total(shorts.get(id)));
  }
  const { score, reference } = bestReference(reply, references);
  if (score < MIN_OVERLAP) return false;
  if (expect.topic !== undefined) {
    return reference.owner === expect.topic && (expect.kind ?? reference.kind) === reference.kind;
  }
  return reference.owner === (expect.unknown ? "unknown" : expect.reply);
}

const loops = (reply) => [...countRuns(wordsOf(reply), NUM_LOOP_WORDS).values()].some((n) => n > MAX_LOOP_REPEATS);

async function ask(url, model, messages) {
  const response = await fetch(new URL("/v1/chat/completions", url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    // No max_tokens: a server refuses one that a long conversation's context cannot hold.
    body: JSON.stringify({ model, messages, temperature: 0 }),
  });
  if (!response.ok) throw new Error(`${response.status} from ${url}: ${(await response.text()).slice(0, 300)}`);
  const { choices, usage } = await response.json();
  const ended = choices[0].finish_reason === "stop" && usage.completion_tokens <= MAX_TOKENS;
  return { reply: choices[0].message.content, ended };
}

/** Plays one conversation with the model's own replies and judges every turn. */
async function runCase(testCase, options, rules) {
  const messages = testCase.system ? [{ role: "system", content: testCase.system }] : [];
  const results = [];
  for (const turn of testCase.turns) {
    messages.push({ role: "user", content: turn.user });
    const { reply, ended } = await ask(options.url, options.model, messages);
    messages.push({ role: "assistant", content: reply });
    const right = ended && holds(reply, turn.expect, rules);
    results.push({ category: testCase.category, user: turn.user, reply, ended, looped: loops(reply), right });
  }
  return results;
}

function score(results) {
  const scores = {};
  for (const result of results) {
    for (const category of [result.category, "all"]) {
      scores[category] ??= { right: 0, total: 0, unended: 0, looped: 0 };
      scores[category].right += Number(result.right);
      scores[category].total += 1;
      scores[category].unended += Number(!result.ended);
      scores[category].looped += Number(result.looped);
    }
  }
  return scores;
}

function printTable(scores) {
  for (const [category, row] of Object.entries(scores)) {
    const percent = ((100 * row.right) / row.total).toFixed(1).padStart(5);
    const counts = `${String(row.right).padStart(4)} / ${String(row.total).padStart(4)}`;
    console.log(`${category.padEnd(12)} ${counts} = ${percent}%   broken off ${row.unended}   looped ${row.looped}`);
  }
}

async function main() {
  const { values: options } = parseArgs({
    options: {
      url: { type: "string", default: "http://127.0.0.1:8787" },
      model: { type: "string", default: "runnel-demo" },
      json: { type: "string" },
      "show-wrong": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (options.help) return console.log(HELP);
  const rules = loadReferences();
  const cases = readAll("eval");
  const results = [];
  for (const [index, testCase] of cases.entries()) {
    results.push(...(await runCase(testCase, options, rules)));
    process.stderr.write(`\r${index + 1} / ${cases.length} conversations`);
  }
  process.stderr.write("\n");
  const scores = score(results);
  printTable(scores);
  if (options["show-wrong"]) {
    for (const { right, category, user, reply } of results) {
      if (!right) console.log(`\n[${category}] ${user}\n -> ${reply}`);
    }
  }
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ scores, results }, null, 1)}\n`);
  const below = Object.entries(BARS).filter(([category, bar]) => scores[category].right < bar * scores[category].total);
  if (below.length > 0 || scores.all.unended > 0 || scores.all.looped > 0) {
    console.error(`below the bar: ${below.map(([category]) => category).join(", ") || "broken off or looped replies"}`);
    process.exitCode = 1;
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 2;
});
