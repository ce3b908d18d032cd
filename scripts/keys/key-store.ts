/** Where the list of keys is kept: hashes and limits, never keys. */
import type { ApiKey } from "../../src/edge/keys/api-keys.ts";

export interface KeyStore {
  /** What to do so that a Worker knows of a change. */
  readonly afterwards: string;
  read(): Promise<ApiKey[]>;
  write(keys: readonly ApiKey[]): Promise<void>;
}

export const VARIABLE = "API_KEYS";
