/**
 * `npm run keys -- create | list | show | revoke`. Arguments in, exit code out: 0 done, 1 it cannot be done (the message
 * says what, the value, the limit and the mend), 2 the command was called wrongly.
 */
import { join } from "node:path";
import { inspect, parseArgs } from "node:util";
import { type ApiKey, isExpired } from "../../src/edge/keys/api-keys.ts";
import { columns } from "../model/columns.ts";
import { CommandError, UsageError } from "../model/errors.ts";
import { ROOT } from "../model/paths.ts";
import { DevVarsStore } from "./dev-vars-store.ts";
import type { KeyStore } from "./key-store.ts";
import { makeKey } from "./make-key.ts";
import { putSecret } from "./put-secret.ts";
import { SecretStore } from "./secret-store.ts";

const HELP = `Usage: npm run keys -- COMMAND [options]

  create NAME   make an API key and print it, once: only its hash is kept
  list          the keys that there are
  show ID       all that is known of one
  revoke ID     take one back

  --models A,B             models that the key is for (default: all)
  --requests-per-minute N  (default: any number)
  --tokens-per-minute N    of prompts and answers together (default: any number)
  --expires WHEN           a number of days such as 90d, or a date
  --remote                 the deployed Worker (wrangler must be logged in) instead of \`npm start\`
  --json                   list and show as JSON
  --help                   this text

With the first key the Worker asks everybody for one; without any it answers on localhost only.`;

const OPTIONS = {
  models: { type: "string" },
  "requests-per-minute": { type: "string" },
  "tokens-per-minute": { type: "string" },
  expires: { type: "string" },
  remote: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

/** What the command takes from its surroundings; tests bring their own. */
export interface Host {
  print(text: string): void;
  warn(text: string): void;
  nowMs(): number;
  open(isRemote: boolean): KeyStore;
}

const PROCESS_HOST: Host = {
  print: (text) => console.log(text),
  warn: (text) => console.error(text),
  nowMs: () => Date.now(),
  open: (isRemote) =>
    isRemote ? new SecretStore(join(ROOT, "api-keys.json"), putSecret) : new DevVarsStore(join(ROOT, ".dev.vars")),
};

/** @returns the exit code */
export async function main(args: string[], host: Host = PROCESS_HOST): Promise<number> {
  try {
    await run(args, host);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      host.warn(`keys: ${error.message}\nSee \`npm run keys -- --help\`.`);
      return 2;
    }
    const isExpected = error instanceof CommandError || /^API_KEYS /.test((error as Error).message);
    host.warn(isExpected ? `keys: ${(error as Error).message}` : `keys: an unexpected error: ${inspect(error)}`);
    return 1;
  }
}

async function run(args: string[], host: Host): Promise<void> {
  const { values, positionals } = parse(args);
  if (values.help) return host.print(HELP);
  const [command, operand, surplus] = positionals;
  if (surplus !== undefined) throw new UsageError(`'${surplus}' is one operand too many.`);
  const store = host.open(values.remote);
  if (command === "create") {
    const { text, key } = makeKey(wishOf(values, needed(command, "a NAME", operand)), host.nowMs());
    await store.write([...(await store.read()), key]);
    host.print(text);
    host.warn(`${key.id} (${key.name}). This is the only time that the key is shown. ${store.afterwards}`);
  } else if (command === "list") {
    if (operand !== undefined) throw new UsageError(`list takes no operand, but got '${operand}'.`);
    const keys = await store.read();
    host.print(values.json ? JSON.stringify(keys.map(withoutHash), null, 2) : table(keys, host.nowMs()));
  } else if (command === "show") {
    const shown = withoutHash(find(await store.read(), needed(command, "an ID", operand)));
    host.print(values.json ? JSON.stringify(shown, null, 2) : inspect(shown));
  } else if (command === "revoke") {
    const keys = await store.read();
    const revoked = find(keys, needed(command, "an ID", operand));
    await store.write(keys.filter(({ id }) => id !== revoked.id));
    host.warn(`${revoked.id} (${revoked.name}) is taken back. ${store.afterwards}`);
    if (keys.length === 1) host.warn("That was the last key: the Worker now answers on localhost only.");
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

function wishOf(values: ReturnType<typeof parse>["values"], name: string) {
  const { models, expires, "requests-per-minute": requestsPerMinute, "tokens-per-minute": tokensPerMinute } = values;
  return { name, models, expires, requestsPerMinute, tokensPerMinute };
}

function needed(command: string, what: string, operand: string | undefined): string {
  if (operand === undefined) throw new UsageError(`${command} needs ${what}.`);
  return operand;
}

function find(keys: readonly ApiKey[], id: string): ApiKey {
  const key = keys.find((each) => each.id === id);
  if (key !== undefined) return key;
  throw new CommandError(`There is no key '${id}'. Keys: ${keys.map((each) => each.id).join(", ") || "none"}.`);
}

function withoutHash({ sha256: _, ...shown }: ApiKey): Omit<ApiKey, "sha256"> {
  return shown;
}

function table(keys: readonly ApiKey[], nowMs: number): string {
  if (keys.length === 0) return "There are no keys: the Worker answers on localhost only.";
  const rows = keys.map((key) => [
    key.id,
    key.name,
    key.models?.join(",") ?? "all models",
    `${key.requestsPerMinute ?? "any"} requests, ${key.tokensPerMinute ?? "any"} tokens a minute`,
    key.expiresAt === null
      ? "never expires"
      : `${isExpired(key, nowMs) ? "expired" : "expires"} ${key.expiresAt.slice(0, 10)}`,
  ]);
  return columns(rows);
}
