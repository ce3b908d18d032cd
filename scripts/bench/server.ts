/**
 * `npm run bench:server`: what a user of the whole server gets, over HTTP, streaming included: the first token of a Worker
 * that has loaded nothing, and the tokens a second of one stream and of several at once.
 */
import { parseArgs } from "node:util";
import { UsageError } from "../model/errors.ts";
import { userPath } from "../model/host.ts";
import { type BenchServer, startColdServer } from "./bench-server.ts";
import { type StreamTimes, streamChat, tokensPerS } from "./chat-client.ts";
import { MEASURING_OPTIONS, parseCount, runCommand, say, writeJson } from "./command.ts";
import { assertQuiet, describeMachine } from "./machine.ts";
import { RESULT_VERSION, type ServerResults } from "./results.ts";
import { type Summary, summarize } from "./statistics.ts";
import { summaryRow, textTable } from "./table.ts";

const HELP = `Usage: npm run bench:server -- [MODEL.gguf] [options]

Starts servers as \`npm start\` does (with the demo, or the given file) and measures over HTTP.

  --json FILE     write the results there as well
  --runs N        servers, each measured cold and then warm (default: 5)
  --tokens N      tokens of each answer (default: 128)
  --streams LIST  how many streams at once (default: 1,4)
  --busy-ok       measure even where other work keeps the machine busy
  --help          this text`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...MEASURING_OPTIONS,
      runs: { type: "string", default: "5" },
      tokens: { type: "string", default: "128" },
      streams: { type: "string", default: "1,4" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (positionals.length > 1) throw new UsageError(`One model at a time, but got ${positionals.join(" and ")}.`);
  const modelPath = positionals[0] === undefined ? null : userPath(positionals[0], process.env);
  const runs = parseCount("--runs", values.runs);
  const tokens = parseCount("--tokens", values.tokens);
  const streamCounts = values.streams.split(",").map((count) => parseCount("--streams", count, 64));
  assertQuiet(values["busy-ok"]);

  const samples: ServerSample[] = [];
  let model = "";
  for (let run = 1; run <= runs; run++) {
    const server = await startColdServer({ modelPath });
    model = server.model;
    try {
      samples.push(await measure(server, run, tokens, streamCounts));
    } finally {
      await server.stop();
    }
    say(`run ${run} of ${runs}: first token after ${Math.round(samples.at(-1)!.coldFirstTokenMs)} ms`);
  }
  const summary = (of: (sample: ServerSample) => number): Summary => summarize(samples.map(of));
  const results: ServerResults = {
    version: RESULT_VERSION,
    kind: "server",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: { runs, tokens },
    model,
    coldFirstTokenMs: summary((sample) => sample.coldFirstTokenMs),
    loadMs: summary((sample) => sample.loadMs),
    streams: streamCounts.map((numStreams, i) => ({
      numStreams,
      tokensPerS: summary((sample) => sample.streams[i]!.tokensPerS),
      ttftMs: summary((sample) => sample.streams[i]!.ttftMs),
    })),
  };
  console.log(report(results));
  if (values.json !== undefined) writeJson(values.json, results);
}

interface ServerSample {
  coldFirstTokenMs: number;
  loadMs: number;
  streams: { tokensPerS: number; ttftMs: number }[];
}

async function measure(
  server: BenchServer,
  run: number,
  tokens: number,
  streamCounts: readonly number[],
): Promise<ServerSample> {
  const seed = run * 1000;
  // Also gets the hot functions compiled.
  const cold = await streamChat(server, seed, tokens);
  const { loadMs } = (await (await fetch(`${server.url}/ready`)).json()) as { loadMs: number };
  const streams = [];
  for (const numStreams of streamCounts) {
    const times = await Promise.all(
      Array.from({ length: numStreams }, (_, i) => streamChat(server, seed + 100 * numStreams + i, tokens)),
    );
    streams.push({ tokensPerS: tokensPerS(times), ttftMs: summarize(times.map(ttftMs)).median });
  }
  return { coldFirstTokenMs: ttftMs(cold), loadMs, streams };
}

function ttftMs({ startMs, firstMs }: StreamTimes): number {
  return firstMs - startMs;
}

function report({ machine, model, coldFirstTokenMs, loadMs, streams }: ServerResults): string {
  const rows = [
    summaryRow("first token of a cold server", coldFirstTokenMs, "ms"),
    summaryRow("of that, loading the model", loadMs, "ms"),
    ...streams.flatMap(({ numStreams, tokensPerS, ttftMs }) => [
      summaryRow(`${numStreams} at once: speed of all`, tokensPerS, "tokens/s"),
      summaryRow(`${numStreams} at once: first token`, ttftMs, "ms"),
    ]),
  ];
  const head = `${machine.cpu}, ${machine.cores} cores, workerd ${machine.workerd}: ${model} over HTTP. Medians.`;
  return `${head}\n${textTable(["measure", "median", "quartiles", "unit"], rows)}`;
}

await runCommand("bench:server", main);
