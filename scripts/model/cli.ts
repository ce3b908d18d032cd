/**
 * `npm run model -- add | list | remove`. Arguments in, exit code out: 0 done, 1 it cannot be done (the message says
 * what, the value, the limit and the mend), 2 the command was called wrongly.
 */
import { join } from "node:path";
import { inspect, parseArgs } from "node:util";
import { ModelError } from "../../src/model/errors.ts";
import { addModel } from "./add.ts";
import { CommandError, UsageError } from "./errors.ts";
import { type Host, PROCESS_HOST, userPath } from "./host.ts";
import { listModels } from "./list.ts";
import { ROOT } from "./paths.ts";
import { removeModel } from "./remove.ts";

const HELP = `Usage: npm run model -- COMMAND [options]

  add SOURCE [--name NAME]   check a GGUF model and put it where \`npm start\` serves it
  list                       the models that are served
  remove NAME                delete a model that was added

SOURCE is a file, an https:// address, or hf:ORG/REPO/FILE.gguf.

  --name NAME        what requests call the model (default: the file's name)
  --replace          replace a model of this name
  --dry-run          only check architecture, quantization and memory
  --remote           the R2 bucket of the deployed Worker instead of the local one (wrangler must be logged in)
  --persist-to DIR   where \`npm start\` keeps its local data (default: .wrangler/state)
  --json             list as JSON
  --help             this text

Environment: HF_TOKEN (sent to Hugging Face only), HF_ENDPOINT (a mirror of it),
MEMORY_BUDGET_BYTES (what an isolate may hold, if the Worker runs with another budget).`;

const OPTIONS = {
  name: { type: "string" },
  replace: { type: "boolean", default: false },
  "dry-run": { type: "boolean", default: false },
  remote: { type: "boolean", default: false },
  "persist-to": { type: "string", default: join(ROOT, ".wrangler/state") },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** @returns the exit code */
export async function main(args: string[], host: Host = PROCESS_HOST): Promise<number> {
  try {
    await run(args, host);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      host.warn(`model: ${error.message}\nSee \`npm run model -- --help\`.`);
      return 2;
    }
    const isExpected = error instanceof ModelError || error instanceof CommandError;
    host.warn(isExpected ? `model: ${error.message}` : `model: an unexpected error: ${inspect(error)}`);
    return 1;
  }
}

async function run(args: string[], host: Host): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) {
    host.print(HELP);
    return;
  }
  const [command, ...operands] = positionals;
  const persistTo = userPath(values["persist-to"], host.env);
  const openStore = async () => (values.remote ? host.openRemote() : host.openLocal(persistTo));
  if (command === "add") {
    const source = onlyOperand(command, "SOURCE", operands);
    const { name, replace, "dry-run": dryRun } = values;
    await addModel(
      source,
      { name, replace, dryRun, downloadsDir: join(persistTo, "../model-downloads") },
      openStore,
      host,
    );
  } else if (command === "list") {
    if (operands.length > 0) throw new UsageError(`list takes no operand, but got '${operands[0]}'.`);
    if (values.remote) {
      throw new UsageError(
        "wrangler cannot list a bucket. Ask the deployed Worker: curl https://YOUR_WORKER/v1/models",
      );
    }
    await listModels(openStore, values.json, host);
  } else if (command === "remove") {
    await removeModel(onlyOperand(command, "NAME", operands), openStore, host);
  } else {
    throw new UsageError(command === undefined ? "A command is missing." : `There is no command '${command}'.`);
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function onlyOperand(command: string, what: string, operands: string[]): string {
  const [first, second] = operands;
  if (first === undefined) throw new UsageError(`${command} needs ${what}.`);
  if (second !== undefined) throw new UsageError(`${command} takes one ${what}, but got '${first}' and '${second}'.`);
  return first;
}
