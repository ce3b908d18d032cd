/** llama.cpp compiled to WebAssembly by wllama, its single-thread build, in Node. */
import { openAsBlob, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { installBrowserWorker } from "./browser-worker.ts";
import { answerJob } from "./peer-job.ts";

/** What is used of wllama 2.3; it has types, but is installed only where peers are measured. */
interface Wllama {
  loadModel(files: Blob[], options: { n_ctx: number; n_threads: number }): Promise<void>;
  decode(tokens: number[], options: object): Promise<unknown>;
  kvClear(): Promise<void>;
}
interface WllamaPackage {
  Wllama: new (paths: Record<string, string>, options: object) => Wllama;
}

await answerJob(async ({ modelPath, peersFolder, promptTokens, newTokens }) => {
  installBrowserWorker();
  const folder = join(peersFolder, "node_modules/@wllama/wllama");
  const { Wllama } = (await import(pathToFileURL(join(folder, "esm/index.js")).href)) as WllamaPackage;
  const wasm = pathToFileURL(join(folder, "esm/single-thread/wllama.wasm")).href;
  const ignore = () => {};
  const wllama = new Wllama(
    { "single-thread/wllama.wasm": wasm, "multi-thread/wllama.wasm": wasm },
    { suppressNativeLog: true, logger: { debug: ignore, log: ignore, warn: console.error, error: console.error } },
  );
  await wllama.loadModel([await openAsBlob(modelPath)], { n_ctx: promptTokens + newTokens + 8, n_threads: 1 });
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  return {
    version: `wllama ${version}`,
    build: "single-thread WebAssembly",
    async prefill(tokens) {
      await wllama.kvClear();
      await wllama.decode(tokens, {});
    },
    async decode(numTokens) {
      for (let i = 0; i < numTokens; i++) await wllama.decode([100 + i], {});
    },
  };
});
