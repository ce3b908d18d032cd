import { expect, it } from "vitest";
import { describeModel, describeTypes } from "../../../src/model/describe.ts";
import { readGgufHeader } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { K_QUANT_SHAPE, type TinyModelOptions, tinyModelBytes } from "../../support/tiny-model.ts";

const describe = async (options: TinyModelOptions) =>
  describeModel(await readGgufHeader(memorySource(tinyModelBytes(options), "m.gguf")));

it("counts parameters once, without the table of rope factors", async () => {
  const perLayer = 64 * 64 * 2 + 64 * 32 * 2 + 64 * 96 * 3 + 2 * 64;
  const numParameters = 313 * 64 + 64 + 2 * perLayer;
  expect((await describe({ ropeFreqs: true })).numParameters).toBe(numParameters);
  expect((await describe({ tied: false })).numParameters).toBe(numParameters + 313 * 64);
});

it("names a mix by the type of most weights and lists all of them", async () => {
  const weightType = (name: string) => (name.includes("ffn_down") ? "Q6_K" : "Q4_K");
  const made = await describe({ ...K_QUANT_SHAPE, weightType });
  expect(made.quantization).toBe("Q4_K");
  expect(describeTypes(made.types)).toBe("Q4_K×13 Q6_K×2 F32×5");
  expect(made.weightsBytes).toBe(made.types.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  expect(made.types[1]).toEqual({ type: "Q6_K", numTensors: 2, numElements: 2 * 256 * 512, sizeBytes: 2 * 512 * 210 });
});

it.each(["Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS"] as const)("describes a model of %s", async (weightType) => {
  const made = await describe({ ...K_QUANT_SHAPE, numLayers: 1, weightType });
  expect(made.quantization).toBe(weightType);
  expect(describeTypes(made.types)).toBe(`${weightType}×8 F32×3`);
});
