/** The small model that guesses for an engine's model, on a device of its own beside it. */
import { GpuDevice } from "../backends/gpu/device.ts";
import { GpuBackend } from "../backends/gpu/gpu-backend.ts";
import { ModelError } from "../model/errors.ts";
import { readGguf } from "../model/gguf-reader.ts";
import { fileSource } from "../model/source-file.ts";
import { specFromGguf } from "../model/spec-from-gguf.ts";
import { NUM_DRAFTING_MAX } from "../serving/speculation.ts";
import { loadText } from "../text/index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { vocabularyDifference } from "../text/vocabulary-difference.ts";
import type { EngineConfig } from "./messages.ts";

export interface DraftLoaderOptions {
  path: string;
  config: EngineConfig;
  /** Of the model that it guesses for. */
  target: { tokenizer: Tokenizer; vocabSize: number; contextLength: number };
}

/**
 * Room for as many sequences as draft at a time, as long as they can get.
 *
 * @throws ModelError also for a model of another vocabulary, before its weights are read
 */
export async function loadDraftBackend({ path, config, target }: DraftLoaderOptions): Promise<GpuBackend> {
  const source = fileSource(path);
  const { header, data } = await readGguf(source);
  try {
    const spec = specFromGguf(header, source.name);
    const { tokenizer } = loadText(header, { nowMs: () => Date.now() });
    const difference =
      spec.vocabSize === target.vocabSize
        ? vocabularyDifference(target.tokenizer, tokenizer)
        : `it computes logits of ${spec.vocabSize} tokens, not ${target.vocabSize}`;
    if (difference !== null) {
      throw new ModelError(
        "other_vocabulary",
        `${source.name} cannot guess for '${config.modelId}': ${difference}. A draft model needs the same vocabulary.`,
      );
    }
    const device = await GpuDevice.open({ software: config.software });
    return await GpuBackend.load({
      device,
      header,
      data,
      spec,
      options: {
        kvPrecision: config.kvPrecision,
        contextLength: target.contextLength,
        maxBatchSequences: NUM_DRAFTING_MAX,
        ...(config.batchTokensMax !== null && { maxBatchTokens: Math.max(config.batchTokensMax, NUM_DRAFTING_MAX) }),
      },
    });
  } catch (cause) {
    await data.cancel();
    throw cause;
  }
}
