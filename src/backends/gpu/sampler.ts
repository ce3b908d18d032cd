/** The sampling kernels bound to the arena, and reading back what they found. */
import { fromLaneMajor, paddedWidth } from "../../../kernels-gpu/lanes.ts";
import { adjust, candidates, candidateWorkgroups } from "../../../kernels-gpu/sampling/adjust.ts";
import { LOGPROB_WORDS, logprobs } from "../../../kernels-gpu/sampling/logprobs.ts";
import { NO_TOKEN } from "../../../kernels-gpu/sampling/outputs.ts";
import { sample } from "../../../kernels-gpu/sampling/sample.ts";
import type { ModelSpec } from "../../model/model-spec.ts";
import type { RowResult } from "../../serving/backend.ts";
import type { Arena } from "./arena.ts";
import type { BoundKernel, Dispatch, GpuDevice } from "./device.ts";
import type { OutputTurn } from "./encode-step.ts";
import type { StepBuffer } from "./step-buffer.ts";

const ADJUST_THREADS = 64;

type OutputShape = Pick<ModelSpec, "vocabSize" | "dModel">;
type SamplingKernels = Record<"candidates" | "adjust" | "sample" | "logprobs", BoundKernel>;

export class GpuSampler {
  readonly #device: GpuDevice;
  readonly #arena: Arena;
  readonly #vocabSize: number;
  readonly #width: number;
  readonly #kernels: SamplingKernels;

  /** Use `GpuSampler.bind`. */
  private constructor(device: GpuDevice, arena: Arena, { vocabSize, dModel }: OutputShape, kernels: SamplingKernels) {
    this.#device = device;
    this.#arena = arena;
    this.#vocabSize = vocabSize;
    this.#width = dModel;
    this.#kernels = kernels;
  }

  static async bind(device: GpuDevice, arena: Arena, step: StepBuffer, model: OutputShape): Promise<GpuSampler> {
    const { vocabSize } = model;
    const outputs = step.part("outputs");
    const shape = { vocabSize, subgroups: device.hasSubgroups };
    const { logits, tokens, slots } = arena;
    return new GpuSampler(device, arena, model, {
      candidates: await device.bind(candidates(vocabSize), {
        outputs,
        logits,
        masks: step.part("masks"),
        candidates: arena.candidates,
      }),
      adjust: await device.bind(adjust(vocabSize), {
        counts: step.part("adjustCounts"),
        outputs,
        adjustments: step.part("adjustments"),
        candidates: arena.candidates,
      }),
      sample: await device.bind(sample(shape), { outputs, candidates: arena.candidates, tokens, slots }),
      logprobs: await device.bind(logprobs(shape), { outputs, logits, tokens, logprobs: arena.logprobs }),
    });
  }

  dispatches({ outputs, numLogitRows, numAdjustments }: OutputTurn): Dispatch[] {
    if (numLogitRows === 0) return [];
    const { candidates: copy, adjust: penalise, sample: draw, logprobs: report } = this.#kernels;
    const count = outputs.length;
    const list: Dispatch[] = [];
    if (outputs.some((output) => output.sample !== null)) {
      list.push({ kernel: copy, workgroups: candidateWorkgroups(this.#vocabSize, count) });
      if (numAdjustments > 0) {
        list.push({ kernel: penalise, workgroups: [Math.ceil(numAdjustments / ADJUST_THREADS)] });
      }
    }
    // Also where nothing is drawn: it says so to the log probabilities.
    list.push({ kernel: draw, workgroups: [count] });
    if (outputs.some(({ numLogprobs }) => numLogprobs !== null)) list.push({ kernel: report, workgroups: [count] });
    return list;
  }

  async read({ outputs, headRows, numHeadRows, numLogitRows }: OutputTurn): Promise<RowResult[]> {
    const { tokens, logprobs: reports, logits, headInput } = this.#arena;
    const count = outputs.length;
    if (count === 0) return [];
    const wantsLogprobs = outputs.some(({ numLogprobs }) => numLogprobs !== null);
    const wantsLogits = outputs.some((output) => output.wantLogits);
    const rowBytes = paddedWidth(this.#width) * 4;
    const wantsEmbedding = outputs.some((output) => output.wantEmbedding);
    const [drawn, reported, raw, normed] = await Promise.all([
      numLogitRows > 0 ? this.#device.download(tokens, count * 4) : new Uint32Array(count).fill(NO_TOKEN).buffer,
      wantsLogprobs ? this.#device.download(reports, count * LOGPROB_WORDS * 4) : new ArrayBuffer(0),
      wantsLogits ? this.#device.download(logits, numLogitRows * this.#vocabSize * 4) : new ArrayBuffer(0),
      wantsEmbedding ? this.#device.download(headInput, numHeadRows * rowBytes) : new ArrayBuffer(0),
    ]);
    const ids = new Uint32Array(drawn);
    return outputs.map((output, i) => {
      const token = ids[i] === NO_TOKEN ? -1 : ids[i]!;
      const from = headRows[i]! * this.#vocabSize;
      return {
        token,
        ...readLogprobs(output.numLogprobs, reported, i, token !== -1 || output.scoreToken !== null),
        logits: output.wantLogits ? new Float32Array(raw).slice(from, from + this.#vocabSize) : null,
        ...(output.wantEmbedding && {
          embedding: fromLaneMajor(new Float32Array(normed, headRows[i]! * rowBytes, rowBytes / 4), this.#width),
        }),
      };
    });
  }
}

function readLogprobs(
  numLogprobs: number | null,
  reported: ArrayBuffer,
  index: number,
  hasToken: boolean,
): Pick<RowResult, "logprob" | "top"> {
  if (numLogprobs === null) return { logprob: null, top: [] };
  const at = index * LOGPROB_WORDS;
  const [ids, numbers] = [new Uint32Array(reported), new Float32Array(reported)];
  const top = Array.from({ length: numLogprobs }, (_, n) => ({
    token: ids[at + 2 + 2 * n]!,
    logprob: numbers[at + 3 + 2 * n]!,
  }));
  return { logprob: hasToken ? numbers[at]! : null, top };
}
