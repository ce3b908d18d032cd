/** The command line of `npm run origin`. */
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { type ModelNames, parseModelNames } from "../api/model-names.ts";
import { isModelId, MODEL_ID_RULE } from "../model/catalog.ts";
import { NUM_DRAFTS_MAX } from "../serving/draft-policy.ts";
import type { AdapterConfig, EngineConfig } from "./messages.ts";

export const DEFAULT_PORT = 8788;
const DEFAULT_HOST = "127.0.0.1";
const WAITING_MAX = 256;
const DRAIN_S = 30;
/** Longer ones are a setting in the wrong unit. */
const DRAIN_S_MAX = 3600;
const API_KEY_VARIABLE = "RUNNEL_API_KEY";

export const HELP = `Usage: npm run origin -- --model [NAME=]FILE.gguf [--model …] [options]

Serves models from a GPU with the same API as the Worker, without sessions, on http://${DEFAULT_HOST}:${DEFAULT_PORT}.

  --model [NAME=]FILE  a model and what requests call it (default: the file's name); repeat for more
  --lora NAME=FILE     a LoRA adapter (GGUF) of the --model before it: requests for NAME run with it; repeat for more
  --port N             port to listen on (default: $PORT, else ${DEFAULT_PORT}; 0 = any free one)
  --host ADDRESS       address to listen on (default: ${DEFAULT_HOST}; 0.0.0.0 = all)
  --software           run on SwiftShader, on the CPU: for tests, it is slow
  --api-key KEY        what clients must send as a bearer token; better in $${API_KEY_VARIABLE}
  --context N          longest prompt and output (default: what the model was trained on)
  --kv-bytes N         size of each model's KV cache (default: for all sequences, at most 4 GiB)
  --kv-precision P     f16 or int8 (default: f16)
  --batch-tokens N     most tokens of a step (default: 2048)
  --max-running N      most sequences at once, for each model (default: 64)
  --max-waiting N      most that wait for a place, more get 429 (default: ${WAITING_MAX})
  --drafts N           most tokens that a decode guesses ahead, 1 to ${NUM_DRAFTS_MAX} (default: none)
  --draft-model FILE   a smaller model of the same vocabulary that guesses (default: what the text itself repeats)
  --drain-seconds N    how long running answers may take after SIGTERM (default: ${DRAIN_S})
  --verbose            a line for every request
  --help               this text

Ends with 0 after SIGTERM or SIGINT, 2 for wrong options, 3 where there is no GPU, 1 for everything else.`;

/** The command was called wrongly. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

export interface OriginOptions {
  host: string;
  port: number;
  apiKey: string | null;
  /** From the variables that the Worker has, too. */
  names: ModelNames;
  drainMs: number;
  isVerbose: boolean;
  engines: EngineConfig[];
}

const OPTIONS = {
  model: { type: "string", multiple: true },
  lora: { type: "string", multiple: true },
  port: { type: "string" },
  host: { type: "string", default: DEFAULT_HOST },
  software: { type: "boolean", default: false },
  "api-key": { type: "string" },
  context: { type: "string" },
  "kv-bytes": { type: "string" },
  "kv-precision": { type: "string", default: "f16" },
  "batch-tokens": { type: "string" },
  "max-running": { type: "string" },
  "max-waiting": { type: "string" },
  drafts: { type: "string" },
  "draft-model": { type: "string" },
  "drain-seconds": { type: "string" },
  verbose: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** @returns null where the help was asked for @throws UsageError */
export function parseOptions(args: string[], env: Readonly<Record<string, string | undefined>>): OriginOptions | null {
  const { values, tokens } = parsed(args);
  if (values.help) return null;
  const models = modelsOf(tokens);
  const kvPrecision = values["kv-precision"];
  if (kvPrecision !== "f16" && kvPrecision !== "int8") {
    throw new UsageError(`--kv-precision is '${kvPrecision}'; it must be f16 or int8.`);
  }
  const maxDrafts = count("--drafts", values.drafts, 1, NUM_DRAFTS_MAX);
  const draftPath = values["draft-model"] ?? null;
  if (draftPath !== null && maxDrafts === null) {
    throw new UsageError("--draft-model says what guesses, but not how far. Say --drafts N, too.");
  }
  if (draftPath !== null && models.length > 1) {
    throw new UsageError(`--draft-model guesses for one model, but there are ${models.length}.`);
  }
  const limits = {
    software: values.software,
    contextLength: count("--context", values.context, 1),
    kvBytes: count("--kv-bytes", values["kv-bytes"], 1),
    kvPrecision,
    batchTokensMax: count("--batch-tokens", values["batch-tokens"], 1),
    runningMax: count("--max-running", values["max-running"], 1),
    waitingMax: count("--max-waiting", values["max-waiting"], 0) ?? WAITING_MAX,
    speculation: maxDrafts === null ? "off" : { maxDrafts },
    draftPath,
  } as const;
  const engines = models.map((model) => ({ ...model, ...limits }));
  const names = engines.flatMap(({ modelId, adapters }) => [modelId, ...adapters.map(({ name }) => name)]);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UsageError(`Two models are called '${twice}'. Name one: --model NAME=FILE, --lora NAME=FILE.`);
  return {
    host: values.host,
    port: count("The port", values.port ?? env.PORT, 0, 65_535) ?? DEFAULT_PORT,
    apiKey: keyOf(values["api-key"] ?? env[API_KEY_VARIABLE]),
    names: namesOf(env),
    drainMs: 1000 * (count("--drain-seconds", values["drain-seconds"], 0, DRAIN_S_MAX) ?? DRAIN_S),
    isVerbose: values.verbose,
    engines,
  };
}

function parsed(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, tokens: true });
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause));
  }
}

type ModelConfig = Pick<EngineConfig, "modelId" | "path" | "adapters">;

/** In the order of the command line, which says what model an adapter belongs to. */
function modelsOf(tokens: ReturnType<typeof parsed>["tokens"]): ModelConfig[] {
  const models: ModelConfig[] = [];
  for (const token of tokens) {
    if (token.kind !== "option" || token.value === undefined) continue;
    if (token.name === "model") models.push({ ...modelOf(token.value), adapters: [] });
    if (token.name !== "lora") continue;
    const model = models.at(-1);
    if (model === undefined) {
      throw new UsageError(`--lora ${token.value} comes before every --model. Say it behind the model it is for.`);
    }
    model.adapters.push(adapterOf(token.value));
  }
  if (models.length === 0) throw new UsageError("Which model? Say --model FILE.gguf.");
  return models;
}

function adapterOf(text: string): AdapterConfig {
  const [name = "", ...rest] = text.split("=");
  const path = rest.join("=");
  if (path === "") throw new UsageError(`--lora ${text} names no adapter or no file. Say --lora NAME=FILE.gguf.`);
  if (isModelId(name)) return { name, path };
  throw new UsageError(`'${name}' is no name for an adapter: ${MODEL_ID_RULE}. Say --lora NAME=FILE.gguf.`);
}

function modelOf(text: string): Pick<ModelConfig, "modelId" | "path"> {
  const at = text.indexOf("=");
  const path = text.slice(at + 1);
  const modelId = at < 0 ? basename(path).replace(/\.gguf$/i, "") : text.slice(0, at);
  if (path === "") throw new UsageError(`--model ${text} names no file. Say --model NAME=FILE.gguf.`);
  if (isModelId(modelId)) return { modelId, path };
  throw new UsageError(`'${modelId}' is no name for a model: ${MODEL_ID_RULE}. Say --model NAME=FILE.gguf.`);
}

/** @returns null where nothing was said */
function count(what: string, text: string | undefined, min: number, max = Number.MAX_SAFE_INTEGER): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= min && value <= max) return value;
  const bound = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new UsageError(`${what} is '${text}'; it must be a whole number ${bound}.`);
}

function namesOf(env: Readonly<Record<string, string | undefined>>): ModelNames {
  try {
    return parseModelNames(env.MODEL_ALIASES, env.MODEL_FALLBACK);
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause));
  }
}

function keyOf(key: string | undefined): string | null {
  if (key === undefined) return null;
  if (/^\S+$/.test(key)) return key;
  throw new UsageError("The API key is empty or has spaces in it; no client can send it.");
}
