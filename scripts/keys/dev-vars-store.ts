/** The keys of `npm start`: the variable API_KEYS in `.dev.vars`, which wrangler reads. Its other lines stay as they are. */
import { readFile, writeFile } from "node:fs/promises";
import { type ApiKey, parseApiKeys } from "../../src/edge/keys/api-keys.ts";
import { type KeyStore, VARIABLE } from "./key-store.ts";

/** Hashes only, and still nobody else's business. */
const MODE = 0o600;
const LINE = new RegExp(`^\\s*(?:export\\s+)?${VARIABLE}\\s*=\\s*(.*)$`);

export class DevVarsStore implements KeyStore {
  readonly #path: string;
  readonly afterwards = "`npm start` takes it over when it is started again.";

  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<ApiKey[]> {
    const line = (await this.#lines()).findLast((each) => LINE.test(each));
    const value = line === undefined ? "" : unquoted(LINE.exec(line)![1]!.trim());
    return value === "" ? [] : parseApiKeys(value);
  }

  async write(keys: readonly ApiKey[]): Promise<void> {
    const others = (await this.#lines()).filter((line) => !LINE.test(line));
    const lines = keys.length === 0 ? others : [...others, `${VARIABLE}='${JSON.stringify(keys)}'`];
    await writeFile(this.#path, lines.map((line) => `${line}\n`).join(""), { mode: MODE });
  }

  async #lines(): Promise<string[]> {
    try {
      return (await readFile(this.#path, "utf8"))
        .split("\n")
        .filter((line, i, all) => i < all.length - 1 || line !== "");
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw cause;
    }
  }
}

/** JSON of ours has no single quote in it: names have none. */
function unquoted(value: string): string {
  return /^'.*'$/.test(value) ? value.slice(1, -1) : value;
}
