/**
 * The keys of the deployed Worker: its secret API_KEYS. A secret cannot be read back, so what was last put is kept beside
 * the repository's files, in `api-keys.json`; whoever else makes keys for the same Worker needs that file.
 */
import { readFile, writeFile } from "node:fs/promises";
import { type ApiKey, parseApiKeys } from "../../src/edge/keys/api-keys.ts";
import { CommandError } from "../model/errors.ts";
import { type KeyStore, VARIABLE } from "./key-store.ts";

/** Cloudflare's bound on a variable or secret. */
export const SECRET_BYTES_MAX = 5 * 1024;
const MODE = 0o600;

/** @returns exit code and what it said */
export type PutSecret = (name: string, value: string) => Promise<{ exitCode: number; said: string }>;

export class SecretStore implements KeyStore {
  readonly #path: string;
  readonly #putSecret: PutSecret;
  readonly afterwards = "The deployed Worker has it with its new version, within seconds.";

  constructor(path: string, putSecret: PutSecret) {
    this.#path = path;
    this.#putSecret = putSecret;
  }

  async read(): Promise<ApiKey[]> {
    try {
      return parseApiKeys(await readFile(this.#path, "utf8"));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw cause;
    }
  }

  /** The file first: a key that the Worker knows must be in it, or nobody could take it back. */
  async write(keys: readonly ApiKey[]): Promise<void> {
    const value = JSON.stringify(keys);
    const numBytes = Buffer.byteLength(value);
    if (numBytes > SECRET_BYTES_MAX) {
      throw new CommandError(
        `${keys.length} keys are ${numBytes} bytes and a secret holds ${SECRET_BYTES_MAX}. Revoke some, or name fewer models.`,
      );
    }
    await writeFile(this.#path, `${JSON.stringify(keys, null, 2)}\n`, { mode: MODE });
    const { exitCode, said } = await this.#putSecret(VARIABLE, value);
    if (exitCode === 0) return;
    throw new CommandError(
      `wrangler could not put the secret ${VARIABLE} (exit code ${exitCode}); ${this.#path} has the list already, so the ` +
        `next command puts it again:\n${said}`,
    );
  }
}
