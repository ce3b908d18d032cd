/** What the command takes from its surroundings; tests bring their own. */
import { resolve } from "node:path";
import { LocalStore } from "./local-store.ts";
import type { ModelStore } from "./model-store.ts";
import { RemoteStore } from "./remote-store.ts";

/** Something that a progress bar can be drawn on. */
export interface Screen {
  isTTY?: boolean;
  write(text: string): void;
}

export interface Environment {
  HF_ENDPOINT?: string | undefined;
  HF_TOKEN?: string | undefined;
  MEMORY_BUDGET_BYTES?: string | undefined;
  /** npm runs scripts in the package's folder and says here where it was called. */
  INIT_CWD?: string | undefined;
}

export interface Host {
  env: Environment;
  /** Results. */
  print(text: string): void;
  /** Errors and warnings. */
  warn(text: string): void;
  progressScreen: Screen;
  nowMs(): number;
  openLocal(persistTo: string): Promise<ModelStore>;
  openRemote(): ModelStore;
}

export const PROCESS_HOST: Host = {
  env: process.env,
  print: (text) => console.log(text),
  warn: (text) => console.error(text),
  progressScreen: process.stderr,
  nowMs: () => performance.now(),
  openLocal: (persistTo) => LocalStore.open(persistTo),
  openRemote: () => new RemoteStore(),
};

/** A path as the user meant it. */
export function userPath(path: string, env: Environment): string {
  return resolve(env.INIT_CWD ?? ".", path);
}
