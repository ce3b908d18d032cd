/**
 * `npm run bench:peers`: this engine, native llama.cpp and llama.cpp in WebAssembly on the same file, one thread each, in
 * turn (A B C A B C …). A ratio is taken within each round, so that a machine that slows down does not favour anybody.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../model/errors.ts";
import { userPath } from "../model/host.ts";
import { MEASURING_OPTIONS, parseCount, runCommand, say, writeJson } from "./command.ts";
import { NO_VNNI_FLAGS } from "./engine-job.ts";
import { assertQuiet, describeMachine } from "./machine.ts";
import { type BenchModel, benchModels, RANDOM_MIXES, randomModel } from "./models.ts";
import { runInNode } from "./node-host.ts";
import { installPeers } from "./peer-install.ts";
import type { PeerJob, PeerReport } from "./peer-job.ts";
import { type PeerComparison, type PeerResults, RESULT_VERSION } from "./results.ts";
import { pairedRatios, summarize } from "./statistics.ts";
import { textTable } from "./table.ts";

const HELP = `Usage: npm run bench:peers -- [MODEL.gguf …] [options]

Compares with native llama.cpp (node-llama-cpp) and llama.cpp in WebAssembly (wllama 2.3.1) on the same files, one
thread: prefill of a prompt and the decoding of an answer after it. The peers run with their own defaults. Without a
model: random weights in the shape of SmolLM2-135M as Q4_0, Q8_0 and Q4_K_M.

  --json FILE    write the results there as well
  --rounds N     rounds through all engines (default: 5)
  --repeats N    samples in each process (default: 3)
  --prompt N     tokens of the prompt (default: 256)
  --tokens N     tokens of the answer (default: 64)
  --no-vnni      let this engine take part a second time with V8 told to do without AVX-VNNI
  --peers DIR    a folder whose node_modules has the peers (default: installed with npm into a cache folder)
  --busy-ok      measure even where other work keeps the machine busy
  --help         this text`;

interface Contestant {
  engine: string;
  script: string;
  v8Flags: readonly string[];
  isOurs: boolean;
}

const OURS: Contestant = { engine: "runnel", script: "peer-runnel.ts", v8Flags: [], isOurs: true };
const OURS_NO_VNNI: Contestant = { ...OURS, engine: "runnel without AVX-VNNI", v8Flags: NO_VNNI_FLAGS };
const PEERS: readonly Contestant[] = [
  { engine: "llama.cpp native", script: "peer-llama.ts", v8Flags: [], isOurs: false },
  { engine: "wllama", script: "peer-wllama.ts", v8Flags: [], isOurs: false },
];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...MEASURING_OPTIONS,
      rounds: { type: "string", default: "5" },
      repeats: { type: "string", default: "3" },
      prompt: { type: "string", default: "256" },
      tokens: { type: "string", default: "64" },
      "no-vnni": { type: "boolean", default: false },
      peers: { type: "string" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const rounds = parseCount("--rounds", values.rounds);
  const repeats = parseCount("--repeats", values.repeats);
  const promptTokens = parseCount("--prompt", values.prompt);
  const newTokens = parseCount("--tokens", values.tokens);
  const models = benchModels(positionals, () => RANDOM_MIXES.map((mix) => randomModel(mix)));
  const peersFolder = values.peers === undefined ? installPeers() : givenFolder(values.peers);
  assertQuiet(values["busy-ok"]);

  const contestants = values["no-vnni"] ? [OURS, OURS_NO_VNNI, ...PEERS] : [OURS, ...PEERS];
  const results: PeerComparison[] = [];
  for (const model of models) {
    const job: PeerJob = { modelPath: model.path, peersFolder, promptTokens, newTokens, repeats };
    results.push(await compare(model, job, contestants, rounds));
  }
  const document: PeerResults = {
    version: RESULT_VERSION,
    kind: "peers",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: { rounds, repeats },
    promptTokens,
    newTokens,
    results,
  };
  console.log(report(document));
  if (values.json !== undefined) writeJson(values.json, document);
}

function givenFolder(path: string): string {
  const folder = userPath(path, process.env);
  if (existsSync(join(folder, "node_modules/node-llama-cpp"))) return folder;
  throw new UsageError(`--peers is '${path}', but ${folder}/node_modules has no node-llama-cpp.`);
}

async function compare(
  model: BenchModel,
  job: PeerJob,
  contestants: readonly Contestant[],
  rounds: number,
): Promise<PeerComparison> {
  const reports = new Map<Contestant, PeerReport[]>(contestants.map((contestant) => [contestant, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const contestant of contestants) {
      const answer = await runInNode<PeerReport>(contestant.script, job, contestant.v8Flags);
      reports.get(contestant)!.push(answer);
      const speeds = `prefill ${median(answer.prefill)}, decode ${median(answer.decode)} tokens/s`;
      say(`${model.name}, round ${round} of ${rounds}: ${contestant.engine}: ${speeds}`);
    }
  }
  const medians = (contestant: Contestant, of: "prefill" | "decode") =>
    reports.get(contestant)!.map((answer) => median(answer[of]));
  const all = (contestant: Contestant, of: "prefill" | "decode") =>
    summarize(reports.get(contestant)!.flatMap((answer) => answer[of]));
  const against = (ours: Contestant, peer: Contestant, of: "prefill" | "decode") =>
    summarize(pairedRatios(medians(ours, of), medians(peer, of)));
  return {
    model: { name: model.name, sizeBytes: model.sizeBytes, isRandom: model.isRandom },
    engines: contestants.map((contestant) => {
      const [{ version, build }] = reports.get(contestant) as [PeerReport];
      const { engine } = contestant;
      return { engine, version, build, prefill: all(contestant, "prefill"), decode: all(contestant, "decode") };
    }),
    ratios: contestants
      .filter(({ isOurs }) => isOurs)
      .flatMap((ours) =>
        PEERS.map((peer) => ({
          engine: ours.engine,
          against: peer.engine,
          prefill: against(ours, peer, "prefill"),
          decode: against(ours, peer, "decode"),
        })),
      ),
  };
}

function median(samples: readonly number[]): number {
  return summarize(samples).median;
}

function report({ machine, promptTokens, newTokens, results }: PeerResults): string {
  const head = `${machine.cpu} (${machine.cpuFlags.join(" ")}), one thread each, Node ${machine.node}; medians of tokens/s.`;
  const tables = results.map(({ model, engines, ratios }) => {
    const speeds = engines.map(({ engine, prefill, decode }) => [
      engine,
      String(prefill.median),
      String(decode.median),
    ]);
    const times = ratios.map(({ engine, against, prefill, decode }) => [
      `${engine} ÷ ${against}`,
      `${prefill.median} × [${prefill.q1} … ${prefill.q3}]`,
      `${decode.median} × [${decode.q1} … ${decode.q3}]`,
    ]);
    const columns = [model.name, `prefill ${promptTokens}`, `decode ${newTokens}`];
    return `\n${textTable(columns, [...speeds, ...times])}`;
  });
  const builds = results[0]?.engines.map(({ engine, version, build }) => `${engine}: ${version}, ${build}`) ?? [];
  return [head, ...tables, "", ...builds].join("\n");
}

await runCommand("bench:peers", main);
