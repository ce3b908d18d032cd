/**
 * A browser's Worker on Node's worker threads, for libraries that build their worker from a blob of code: what they
 * call of it, no more. The worker's side is a few lines of plain JavaScript put before the blob's own.
 */
import { resolveObjectURL } from "node:buffer";
import { Worker as ThreadWorker, type Transferable } from "node:worker_threads";

/** Messages wait until the worker's code has set `onmessage`. */
const PREAMBLE = `
const { parentPort } = require("node:worker_threads");
globalThis.self = globalThis;
globalThis.postMessage = (data, transfer) => parentPort.postMessage(data, Array.isArray(transfer) ? transfer : undefined);
const waiting = [];
let handler = null;
Object.defineProperty(globalThis, "onmessage", {
  get: () => handler,
  set(given) { handler = given; for (const data of waiting.splice(0)) given({ data }); },
});
parentPort.on("message", (data) => (handler === null ? waiting.push(data) : handler({ data })));
`;

class BrowserWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((error: unknown) => void) | null = null;
  #thread: ThreadWorker | null = null;
  #waiting: [unknown, Transferable[] | undefined][] = [];

  constructor(url: string | URL) {
    void this.#start(String(url));
  }

  postMessage(data: unknown, transfer?: Transferable[]): void {
    if (this.#thread === null) this.#waiting.push([data, transfer]);
    else this.#thread.postMessage(data, transfer);
  }

  terminate(): void {
    void this.#thread?.terminate();
  }

  async #start(url: string): Promise<void> {
    const code = await resolveObjectURL(url)?.text();
    if (code === undefined) throw new Error(`${url} is no blob of this process.`);
    this.#thread = new ThreadWorker(PREAMBLE + code, { eval: true });
    this.#thread.on("message", (data) => this.onmessage?.({ data }));
    this.#thread.on("error", (error) => this.onerror?.(error));
    for (const [data, transfer] of this.#waiting.splice(0)) this.#thread.postMessage(data, transfer);
  }
}

/** Also sets what such libraries ask of a page: its address, and how many cores it may use. */
export function installBrowserWorker(): void {
  const globals = {
    Worker: BrowserWorker,
    document: { baseURI: "file:///" },
    navigator: { userAgent: "node", hardwareConcurrency: 1, storage: {} },
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}
