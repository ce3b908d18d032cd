/** Sends mutated bodies to every POST route of the API and counts the statuses. */
import { parseArgs } from "node:util";
import { faultOf, mutatedBodies } from "../test/unit/api/mutated-bodies.ts";

const HELP = `Usage: node scripts/fuzz-api.ts [options]

Sends mutated bodies to every POST route of the API: real decoders and grammars, an engine that is a script.

  --count N  bodies to send (100000)
  --seed N   the same bodies for the same number (1)
  --help     this text

Exit codes: 0 no answer blames the server and each error has its path's shape, 1 one does not, 2 called wrongly.`;

const PROGRESS_EVERY = 10_000;

const { count, seed } = readArguments();
const next = await mutatedBodies(seed);
const numByStatus: Record<number, number> = {};
let numFaults = 0;
for (let i = 1; i <= count; i++) {
  const fuzzed = await next();
  numByStatus[fuzzed.status] = (numByStatus[fuzzed.status] ?? 0) + 1;
  const fault = faultOf(fuzzed);
  if (fault !== null && ++numFaults <= 10) console.error(`${fault}:`, fuzzed);
  if (i % PROGRESS_EVERY === 0) console.error(`${i} of ${count}`);
}
console.log({ count, seed, numFaults, numByStatus });
process.exitCode = numFaults > 0 ? 1 : 0;

function readArguments(): { count: number; seed: number } {
  try {
    const options = {
      count: { type: "string", default: "100000" },
      seed: { type: "string", default: "1" },
      help: { type: "boolean" },
    } as const;
    const { values } = parseArgs({ options });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    const [count, seed] = [Number(values.count), Number(values.seed)];
    if (Number.isSafeInteger(count) && count > 0 && Number.isSafeInteger(seed)) return { count, seed };
    throw new Error(`--count and --seed must be whole numbers, got ${values.count} and ${values.seed}.`);
  } catch (cause) {
    console.error(`${(cause as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}
