/** Native llama.cpp, through node-llama-cpp: its prebuilt library for this processor, its defaults, one thread. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { answerJob } from "./peer-job.ts";

/** What is used of node-llama-cpp 3; it has types, but is installed only where peers are measured. */
interface Sequence {
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  evaluate(tokens: number[], options: { temperature: number; yieldEogToken: boolean }): AsyncIterable<number>;
}
interface Llama {
  systemInfo: string;
  llamaCppRelease: { release: string };
  loadModel(options: { modelPath: string }): Promise<{
    createContext(options: { contextSize: number; threads: number }): Promise<{ getSequence(): Sequence }>;
  }>;
}
interface NodeLlamaCpp {
  getLlama(options: { gpu: false; build: "never"; maxThreads: number; logLevel: string }): Promise<Llama>;
}

await answerJob(async ({ modelPath, peersFolder, promptTokens, newTokens }) => {
  const folder = join(peersFolder, "node_modules/node-llama-cpp");
  const { getLlama } = (await import(pathToFileURL(join(folder, "dist/index.js")).href)) as NodeLlamaCpp;
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, logLevel: "error" });
  const model = await llama.loadModel({ modelPath });
  // Room for one token more than is run, or the last step would shift the context.
  const context = await model.createContext({ contextSize: promptTokens + newTokens + 8, threads: 1 });
  const sequence = context.getSequence();
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  return {
    version: `llama.cpp ${llama.llamaCppRelease.release}, node-llama-cpp ${version}`,
    build: `${loadedLibrary()}; ${llama.systemInfo.replace(/[\s|]+$/, "")}`,
    async prefill(tokens) {
      await sequence.clearHistory();
      await sequence.evaluateWithoutGeneratingNewTokens(tokens);
    },
    async decode(numTokens) {
      let [token, count] = [100, 0];
      // An end-of-text token ends a generation; the next one goes on from it.
      while (count < numTokens) {
        for await (const next of sequence.evaluate([token], { temperature: 0, yieldEogToken: true })) {
          token = next;
          if (++count === numTokens) break;
        }
      }
    },
  };
});

/** The package brings one library for each generation of processors and loads the best that runs. */
function loadedLibrary(): string {
  try {
    const path = /\S*libggml-cpu\S*/.exec(readFileSync("/proc/self/maps", "utf8"))?.[0];
    return path === undefined ? "library unknown" : basename(path);
  } catch {
    // Linux only.
    return "library unknown";
  }
}
