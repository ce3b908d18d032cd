/** What a peer's process is asked for and answers. One process measures one engine on one model, once round. */

export interface PeerJob {
  modelPath: string;
  /** Folder with the peers' node_modules. */
  peersFolder: string;
  promptTokens: number;
  newTokens: number;
  /** Samples, after one that is thrown away. */
  repeats: number;
}

export interface PeerReport {
  version: string;
  /** Which build of the engine ran. */
  build: string;
  /** Tokens a second. */
  prefill: number[];
  decode: number[];
}

/** One engine, ready to run a prompt of token ids from an empty context and then to decode. */
export interface PeerEngine {
  version: string;
  build: string;
  prefill(tokens: number[]): Promise<void>;
  /** One token after another, from where the prompt ended. */
  decode(numTokens: number): Promise<void>;
}

/** Smallest vocabulary that a peer is given a model of; ids stay below it. */
const VOCAB_MIN = 512;

/** Reads the job, measures, prints the report and ends the process: some peers keep threads. */
export async function answerJob(open: (job: PeerJob) => Promise<PeerEngine>): Promise<never> {
  const job = JSON.parse(process.argv[2]!) as PeerJob;
  const engine = await open(job);
  // The same ids for every engine; low ones, since every vocabulary has them.
  const prompt = Array.from({ length: job.promptTokens }, (_, i) => 100 + ((i * 7919) % (VOCAB_MIN - 200)));
  const report: PeerReport = { version: engine.version, build: engine.build, prefill: [], decode: [] };
  for (let i = 0; i <= job.repeats; i++) {
    const startMs = performance.now();
    await engine.prefill(prompt);
    const prefilledMs = performance.now();
    await engine.decode(job.newTokens);
    const endMs = performance.now();
    if (i === 0) continue;
    report.prefill.push((1000 * job.promptTokens) / (prefilledMs - startMs));
    report.decode.push((1000 * job.newTokens) / (endMs - prefilledMs));
  }
  process.stdout.write(JSON.stringify(report), () => process.exit(0));
  return new Promise(() => {});
}
