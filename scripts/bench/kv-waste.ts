/** `npm run bench:kv-waste`: how much of the KV cache holds nothing while requests run, as the PagedAttention paper counts it. */
import { parseArgs } from "node:util";
import { parseCount, runCommand, writeJson } from "./command.ts";
import { type KvWaste, type KvWasteOptions, LENGTH_MAX, measureKvWaste, SHARE_GPT } from "./kv-waste-run.ts";
import { textTable } from "./table.ts";

const HELP = `Usage: npm run bench:kv-waste -- [options]

Runs a seeded load through the serving core (scheduler, block manager, prefix cache) with a backend that computes nothing, and
prints which share of the token slots in taken KV blocks holds nothing: of all slots over all steps under full load, and of the
worst step. A block that several sequences share counts once. It measures no time, so it may run beside anything.

  --requests N    (default: 1000)
  --running LIST  sequences at once (default: 64)
  --blocks LIST   tokens of a block (default: 8,16,32)
  --choices LIST  choices of each request, which share its prompt (default: 1,4)
  --prompt N      tokens of a prompt, the mean of a log-normal spread (default: ${SHARE_GPT.promptTokens}, ShareGPT's)
  --output N      tokens of an answer, the same (default: ${SHARE_GPT.outputTokens})
  --batch N       most tokens of a step (default: 2048)
  --seed N        of the lengths (default: 1)
  --json FILE     write the results there as well
  --help          this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "1000" },
      running: { type: "string", default: "64" },
      blocks: { type: "string", default: "8,16,32" },
      choices: { type: "string", default: "1,4" },
      prompt: { type: "string", default: String(SHARE_GPT.promptTokens) },
      output: { type: "string", default: String(SHARE_GPT.outputTokens) },
      batch: { type: "string", default: "2048" },
      seed: { type: "string", default: "1" },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const list = (option: string, text: string, most: number) =>
    text.split(",").map((one) => parseCount(option, one, most));
  const common = {
    numRequests: parseCount("--requests", values.requests, 100_000),
    promptTokens: parseCount("--prompt", values.prompt, 1000),
    outputTokens: parseCount("--output", values.output, 1000),
    batchTokens: parseCount("--batch", values.batch, 65_536),
    seed: parseCount("--seed", values.seed, 2 ** 31),
  };
  const runs: { options: KvWasteOptions; waste: KvWaste }[] = [];
  for (const numRunning of list("--running", values.running, 1024)) {
    for (const n of list("--choices", values.choices, numRunning)) {
      for (const blockTokens of list("--blocks", values.blocks, 256)) {
        const options = { ...common, numRunning, n, blockTokens };
        runs.push({ options, waste: measureKvWaste(options) });
      }
    }
  }
  const { numRequests, promptTokens, outputTokens, batchTokens, seed } = common;
  console.log(
    `${numRequests} requests; lengths log-normal with means of ${promptTokens} and ${outputTokens} tokens, cut at ` +
      `${LENGTH_MAX}; steps of up to ${batchTokens} tokens; seed ${seed}.\n`,
  );
  const head = ["running", "choices", "block", "slots taken", "hold nothing", "at most", "steps"];
  const rows = runs.map(({ options, waste }) => [
    waste.numRunning.toFixed(1),
    String(options.n),
    String(options.blockTokens),
    waste.numTakenSlots.toFixed(0),
    percent(waste.meanShare),
    percent(waste.mostShare),
    String(waste.numSteps),
  ]);
  console.log(textTable(head, rows));
  if (values.json !== undefined) writeJson(values.json, { kind: "kv-waste", runs });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

await runCommand("bench:kv-waste", main);
