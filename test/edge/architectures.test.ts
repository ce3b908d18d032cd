/** Every architecture through the Worker's door: what the API reports of a text is what the engine computes for it. */
import { expect, test } from "vitest";
import { CpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { KERNELS } from "../../src/edge/kernels.ts";
import { readGguf } from "../../src/model/gguf-reader.ts";
import { memorySource } from "../../src/model/source-memory.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { logSoftmax } from "../support/reference-sampler.ts";
import { type TinyModelOptions, tinyModelBytes } from "../support/tiny-model.ts";
import { addModelBytes, post, TINY } from "./stack.ts";

const NUM_ALTERNATIVES = 5;
const NUM_NEW = 8;
/** Longer than several windows and KV blocks. */
const PROMPT = Array.from({ length: 45 }, (_, i) => (i * 29 + 7) % 250);

/** All of a completion that is not text. */
interface Completion {
  choices: { logprobs: { token_logprobs: (number | null)[]; top_logprobs: (Record<string, number> | null)[] } }[];
}

/** Log probabilities of every token after each of `tokens`, from the engine itself. */
async function logprobsOf(bytes: Uint8Array, tokens: number[]): Promise<number[][]> {
  const file = await readGguf(memorySource(bytes, "model"));
  const spec = specFromGguf(file.header, "model");
  const options = { maxBatchSequences: 1, contextLength: 64 };
  const backend = await CpuBackend.load({ modules: KERNELS, ...file, spec, options });
  const outputs = tokens.map((_, row) => ({
    row,
    sample: null,
    scoreToken: null,
    numLogprobs: null,
    wantLogits: true,
  }));
  const { rows } = backend.step({
    copies: [],
    sequences: [{ tokens, startPosition: 0, blockTable: [0, 1, 2, 3], outputs }],
  });
  backend.dispose();
  return rows.map(({ logits }) => [...logSoftmax(logits!)]);
}

const MODELS: [string, TinyModelOptions][] = [
  ["mistral", { slidingWindow: 20 }],
  ["qwen2", {}],
  ["qwen3", { headDim: 32 }],
  ["gemma3", { numLayers: 6, slidingWindow: 7 }],
  ["phi3", { longRopeBeyond: 32, tied: false }],
  ["gpt2", { numKvHeads: 4 }],
];

test.each(MODELS)("%s: echo and logprobs are the engine's own", async (architecture, options) => {
  const bytes = tinyModelBytes({ ...TINY, ...options, architecture, seed: 31 });
  const model = await addModelBytes(`arch-${architecture}`, bytes);
  const complete = async (body: object) => {
    const response = await post("/v1/completions", {
      model,
      temperature: 0,
      logprobs: NUM_ALTERNATIVES,
      ignore_eos: true,
      ...body,
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return ((await response.json()) as Completion).choices[0]!.logprobs;
  };

  const { token_logprobs, top_logprobs } = await complete({ prompt: PROMPT, echo: true, max_tokens: NUM_NEW });
  expect(token_logprobs).toHaveLength(PROMPT.length + NUM_NEW);
  expect(token_logprobs[0]).toBeNull();

  // Greedy tokens are those of the engine, one after the other.
  const tokens = [...PROMPT];
  for (let i = 0; i < NUM_NEW; i++) {
    const last = (await logprobsOf(bytes, tokens)).at(-1)!;
    tokens.push(last.indexOf(Math.max(...last)));
  }
  const expected = await logprobsOf(bytes, tokens);
  for (let position = 1; position < tokens.length; position++) {
    const row = expected[position - 1]!;
    expect(Math.abs(token_logprobs[position]! - row[tokens[position]!]!)).toBeLessThan(1e-5);
    const best = [...row].sort((a, b) => b - a).slice(0, NUM_ALTERNATIVES);
    const reported = Object.values(top_logprobs[position]!).sort((a, b) => b - a);
    best.forEach((logprob, i) => {
      expect(Math.abs(reported[i]! - logprob)).toBeLessThan(1e-5);
    });
  }

  // The same again out of the prefix cache.
  const generated = await complete({ prompt: PROMPT, max_tokens: NUM_NEW });
  expect(generated.token_logprobs).toEqual(token_logprobs.slice(PROMPT.length));
});
