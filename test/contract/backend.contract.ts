/**
 * What every Backend must do, as `src/serving/backend.ts` says it: run on the scalar reference, SIMD128, relaxed SIMD and
 * WGSL alike. Models are tiny and random; logits are compared with a float64 forward pass, and everything that must not
 * matter (chunks, blocks, batch mates) is compared bit for bit.
 */
import { afterAll, beforeAll, describe } from "vitest";
import { type TinyModelOptions, tinyModel } from "../support/tiny-model.ts";
import { embeddingCases } from "./backend-embeddings.ts";
import { maskCases } from "./backend-masks.ts";
import { outputCases } from "./backend-outputs.ts";
import { stepCases } from "./backend-steps.ts";
import { type ContractHost, type ContractModel, type ContractSubject, MODELS, OPTIONS } from "./backend-subject.ts";

export function backendContract(subject: ContractSubject): void {
  const options = { ...OPTIONS, kvPrecision: subject.kvPrecision };
  const names = subject.models ?? (Object.keys(MODELS) as ContractModel[]);
  const models = names.map((name): [string, TinyModelOptions] => [name, MODELS[name]]);
  describe.each(models)(`${subject.name}, K and V in ${subject.kvPrecision}: %s`, (_, modelOptions) => {
    const here = { subject, options, modelOptions } as ContractHost;

    beforeAll(async () => {
      here.model = await tinyModel(modelOptions);
      here.backend = await subject.make(here.model, options);
      here.tokens = Array.from({ length: 21 }, (_, i) => (i * 37 + 5) % here.model.spec.vocabSize);
    });
    afterAll(() => here.backend.dispose());

    stepCases(here);
    outputCases(here);
    maskCases(here);
    embeddingCases(here);
  });
}
