/**
 * `npm run bench:sessions`: the first token of a session's next turn after the server was restarted, over HTTP: its KV
 * cache restored from the session's storage, against the same histories computed again (SESSION_KV_DAYS=0). And the
 * tokens a second of one session and of several at once, which share the steps of one engine.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CommandError } from "../model/errors.ts";
import { type BareServer, startBareServer } from "./bare-server.ts";
import { questionOf, sseData, streamAnswer, tokensPerS } from "./chat-client.ts";
import { MEASURING_OPTIONS, parseCount, runCommand, say, writeJson } from "./command.ts";
import { assertQuiet, describeMachine } from "./machine.ts";
import { type BenchModel, benchModels, demoModel, randomModel } from "./models.ts";
import { RESULT_VERSION, type SessionResults, type SessionWaits } from "./results.ts";
import { pairedRatios, summarize } from "./statistics.ts";
import { summaryRow, textTable } from "./table.ts";

const HELP = `Usage: npm run bench:sessions -- [options]

Starts the Worker in workerd, with the demo and no proxy in front. Sessions get a long history, the server is restarted, and the
first token of each session's next turn is timed: restored from storage, and recomputed. Then sessions answer one at a time and
together, in turn.

  --json FILE     write the results there as well
  --model FILE    measure the first token of this .gguf model, too, with half as many sessions (two of
                  SmolLM2-135M take some minutes); "random" = random weights in its shape as Q4_0
  --tokens N      tokens of the history, about (default: 920; the demo's context is 1024)
  --sessions N    sessions of each kind (default: 8)
  --together N    sessions that answer at once (default: 8)
  --answer N      tokens of each of those answers (default: 128)
  --rounds N      how often, alone and together (default: 5)
  --busy-ok       measure even where other work keeps the machine busy
  --help          this text`;

const DEMO = "runnel-demo";
const SENTENCE = "The KV cache keeps the keys and values of all tokens so far. ";
const NEXT = "Why?";
/** So that a history is not one message. */
const NUM_MESSAGES = 4;
/** What a turn has to save is saved by then. */
const SAVED_MS = 300;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      ...MEASURING_OPTIONS,
      model: { type: "string" },
      tokens: { type: "string", default: "920" },
      sessions: { type: "string", default: "8" },
      together: { type: "string", default: "8" },
      answer: { type: "string", default: "128" },
      rounds: { type: "string", default: "5" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const tokens = parseCount("--tokens", values.tokens);
  const numSessions = parseCount("--sessions", values.sessions, 100);
  const together = parseCount("--together", values.together, 64);
  const answer = parseCount("--answer", values.answer, 900);
  const rounds = parseCount("--rounds", values.rounds, 100);
  assertQuiet(values["busy-ok"]);

  const [larger] = values.model === undefined ? [] : benchModels([values.model].filter(isFile), randomModels);

  const results = await inFolder(async (persistTo): Promise<SessionResults> => {
    const waits = await measureWaits(persistTo, demoModel(), tokens, numSessions);
    const speeds = await served(persistTo, { SESSION_KV_DAYS: "0" }, async ({ url }) => {
      await warm(url, DEMO);
      const speeds: Speeds = { alone: [], together: [] };
      for (let round = 0; round < rounds; round++) {
        speeds.alone.push(await speedOf(url, 1, 1000 * (1 + round), answer));
        speeds.together.push(await speedOf(url, together, 1000 * (1 + round) + 1, answer));
      }
      return speeds;
    });
    return {
      version: RESULT_VERSION,
      kind: "sessions",
      takenAt: new Date().toISOString(),
      machine: describeMachine(),
      settings: { tokens, sessions: numSessions, answer, rounds },
      ...waits,
      streams: [
        { numSessions: 1, tokensPerS: summarize(speeds.alone) },
        { numSessions: together, tokensPerS: summarize(speeds.together) },
      ],
      togetherSpeedup: summarize(pairedRatios(speeds.together, speeds.alone)),
    };
  });
  if (larger !== undefined) {
    const numLarger = Math.max(1, numSessions >> 1);
    const waits = await inFolder((persistTo) => measureWaits(persistTo, larger, tokens, numLarger));
    results.larger = { ...waits, isRandom: larger.isRandom };
  }
  console.log(report(results));
  if (values.json !== undefined) writeJson(values.json, results);
}

function isFile(model: string): boolean {
  return model !== "random";
}

function randomModels(): BenchModel[] {
  return [randomModel("q4_0")];
}

async function inFolder<T>(run: (persistTo: string) => Promise<T>): Promise<T> {
  const persistTo = mkdtempSync(join(tmpdir(), "runnel-bench-sessions-"));
  try {
    return await run(persistTo);
  } finally {
    rmSync(persistTo, { recursive: true, force: true });
  }
}

/** The sessions of one model, restored and still in memory, and as many that are computed again. */
async function measureWaits(
  persistTo: string,
  benched: BenchModel,
  tokens: number,
  numSessions: number,
): Promise<SessionWaits> {
  const model = benched.name;
  const [restoring, recomputing] = await served(persistTo, {}, async ({ url, add }) => {
    if (model !== DEMO) await add(benched);
    const numSentences = await sentencesFor(url, model, tokens);
    const make = async () => {
      const ids: string[] = [];
      while (ids.length < numSessions) ids.push(await sessionWith(url, model, numSentences));
      return ids;
    };
    return [await make(), await make()];
  });
  say(`${2 * numSessions} sessions of ${model} have their history`);
  const restored: Turn[] = [];
  const resident: Turn[] = [];
  await served(persistTo, {}, async ({ url }) => {
    await warm(url, model);
    for (const id of restoring!) {
      restored.push(await turn(url, id, NEXT));
      // In a pool for few, the next session would take this one's place.
      await pause(SAVED_MS);
      resident.push(await turn(url, id, NEXT));
      await pause(SAVED_MS);
    }
  });
  const recomputed: Turn[] = [];
  await served(persistTo, { SESSION_KV_DAYS: "0" }, async ({ url }) => {
    await warm(url, model);
    for (const id of recomputing!) recomputed.push(await turn(url, id, NEXT));
  });
  return waitsOf(model, { restored, resident, recomputed });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

interface Turn {
  promptTokens: number;
  cachedTokens: number;
  ttftMs: number;
}

/** Runs one server over the kept state, and waits after it until what it is writing is written. */
async function served<T>(
  persistTo: string,
  variables: Record<string, string>,
  run: (server: BareServer) => Promise<T>,
): Promise<T> {
  const server = await startBareServer(persistTo, variables);
  try {
    const result = await run(server);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return result;
  } finally {
    await server.stop();
  }
}

async function sentencesFor(url: string, model: string, tokens: number): Promise<number> {
  const promptTokens = async (numSentences: number) => {
    const messages = [{ role: "user", content: SENTENCE.repeat(numSentences) }];
    const response = await post(`${url}/v1/chat/completions`, { model, messages, max_tokens: 1 });
    return ((await response.json()) as { usage: { prompt_tokens: number } }).usage.prompt_tokens;
  };
  const [few, many] = [await promptTokens(1), await promptTokens(21)];
  return Math.floor(tokens / ((many - few) / 20));
}

async function sessionWith(url: string, model: string, numSentences: number): Promise<string> {
  const { id } = (await (await post(`${url}/v1/sessions`, { model })).json()) as { id: string };
  for (let i = 0; i < NUM_MESSAGES; i++) await turn(url, id, SENTENCE.repeat(Math.floor(numSentences / NUM_MESSAGES)));
  return id;
}

/** Loads the engine and gets its hot functions compiled; a larger model has called them often enough after one answer. */
async function warm(url: string, model: string): Promise<void> {
  for (let i = 0; i < (model === DEMO ? 3 : 1); i++) {
    const messages = [{ role: "user", content: `${i} ${SENTENCE.repeat(20)}` }];
    await (await post(`${url}/v1/chat/completions`, { model, messages, max_tokens: 32 })).text();
  }
}

interface Speeds {
  alone: number[];
  together: number[];
}

/** Tokens a second of so many new sessions that answer at once. */
async function speedOf(url: string, numSessions: number, firstSeed: number, numTokens: number): Promise<number> {
  const seeds = Array.from({ length: numSessions }, (_, i) => firstSeed + i);
  const ids = await Promise.all(
    seeds.map(async () => ((await (await post(`${url}/v1/sessions`, { model: DEMO })).json()) as { id: string }).id),
  );
  const answers = seeds.map((seed, i) =>
    streamAnswer(`${url}/v1/sessions/${ids[i]}/messages`, { content: questionOf(seed) }, seed, numTokens),
  );
  return tokensPerS(await Promise.all(answers));
}

interface Usage {
  prompt_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

async function turn(url: string, id: string, content: string): Promise<Turn> {
  const startMs = performance.now();
  const response = await post(`${url}/v1/sessions/${id}/messages`, {
    content,
    max_tokens: 4,
    temperature: 0,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
  let ttftMs: number | null = null;
  let usage: Usage | null = null;
  for await (const data of sseData(response.body!)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data) as { choices: { delta: { content?: string } }[]; usage?: Usage | null };
    if (chunk.choices[0]?.delta.content) ttftMs ??= performance.now() - startMs;
    usage = chunk.usage ?? usage;
  }
  if (ttftMs === null || usage === null) throw new CommandError(`The session ${id} gave no token.`);
  return { promptTokens: usage.prompt_tokens, cachedTokens: usage.prompt_tokens_details.cached_tokens, ttftMs };
}

async function post(url: string, body: unknown): Promise<Response> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new CommandError(`The server answers ${response.status}: ${await response.text()}`);
  return response;
}

interface Measured {
  restored: Turn[];
  resident: Turn[];
  recomputed: Turn[];
}

/** Numbers of a cache that did not work would be numbers of something else. */
function waitsOf(model: string, { restored, resident, recomputed }: Measured): SessionWaits {
  for (const [kind, turns] of Object.entries({ restored, resident })) {
    const cold = turns.find(({ promptTokens, cachedTokens }) => cachedTokens < 0.95 * promptTokens);
    if (cold === undefined) continue;
    throw new CommandError(
      `A session that should be ${kind} had ${cold.cachedTokens} of ${cold.promptTokens} tokens cached.`,
    );
  }
  const warm = recomputed.find(({ cachedTokens }) => cachedTokens > 0);
  if (warm !== undefined) throw new CommandError(`A session to be recomputed had ${warm.cachedTokens} tokens cached.`);
  const ttft = (turns: Turn[]) => turns.map(({ ttftMs }) => ttftMs);
  return {
    model,
    promptTokens: summarize(restored.map(({ promptTokens }) => promptTokens)),
    restoredTtftMs: summarize(ttft(restored)),
    recomputedTtftMs: summarize(ttft(recomputed)),
    residentTtftMs: summarize(ttft(resident)),
    speedup: summarize(pairedRatios(ttft(recomputed), ttft(restored))),
  };
}

function waitRows({ promptTokens, restoredTtftMs, recomputedTtftMs, residentTtftMs, speedup }: SessionWaits) {
  return [
    summaryRow("prompt", promptTokens, "tokens"),
    summaryRow("first token, restored from storage", restoredTtftMs, "ms"),
    summaryRow("first token, computed again", recomputedTtftMs, "ms"),
    summaryRow("first token, still in memory", residentTtftMs, "ms"),
    summaryRow("computed again ÷ restored", speedup, "×"),
  ];
}

function report(results: SessionResults): string {
  const { machine, model, larger, streams, togetherSpeedup } = results;
  const rows = [
    ...waitRows(results),
    ...streams.map(({ numSessions, tokensPerS }) =>
      summaryRow(`${numSessions} at once: speed of all`, tokensPerS, "tokens/s"),
    ),
    summaryRow("together ÷ alone", togetherSpeedup, "×"),
  ];
  const columns = ["measure", "median", "quartiles", "unit"];
  const head = `${machine.cpu}, ${machine.cores} cores, workerd ${machine.workerd}: next turn of ${model}, over HTTP. Medians.`;
  const parts = [head, textTable(columns, rows)];
  if (larger !== undefined) parts.push(`\n${larger.model}:`, textTable(columns, waitRows(larger)));
  return parts.join("\n");
}

await runCommand("bench:sessions", main);
