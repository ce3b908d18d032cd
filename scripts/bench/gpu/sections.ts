/** Everything that `npm run bench:gpu` measures, the most important first: where time runs out, the end is missing. */
import { ADAPTER, CEILINGS, DISPATCHES, TRANSFERS } from "./device-sections.ts";
import { hfSection } from "./hf-section.ts";
import { KERNELS } from "./kernel-section.ts";
import { modelSection } from "./model-sections.ts";
import type { Section } from "./section.ts";
import { STABILITY } from "./stability-section.ts";

const MODEL_S = { gpu: 75, software: 40 };
const HF_S = { gpu: 100, software: 20 };

export const SECTIONS: readonly Section[] = [
  ADAPTER,
  CEILINGS,
  modelSection({ shape: "llama-8b", mix: "q4_0" }, MODEL_S),
  modelSection({ shape: "llama-8b", mix: "f16" }, MODEL_S),
  hfSection("llama-8b", HF_S),
  KERNELS,
  DISPATCHES,
  TRANSFERS,
  modelSection({ shape: "llama-1b", mix: "f16" }, MODEL_S),
  hfSection("llama-1b", HF_S),
  modelSection({ shape: "llama-1b", mix: "q4_0" }, MODEL_S),
  modelSection({ shape: "llama-8b", mix: "q8_0" }, MODEL_S),
  modelSection({ shape: "llama-1b", mix: "q8_0" }, MODEL_S),
  STABILITY,
];

/** In software all models are the same toy, whose kernels compile for longer than they run: one of them is enough. */
export function sectionsFor(software: boolean): readonly Section[] {
  if (!software) return SECTIONS;
  const isOneOfMany = (name: string) => name.includes("llama") && !name.includes("llama-8b q4_0");
  return SECTIONS.filter(({ name }) => !isOneOfMany(name) || name === "transformers llama-8b");
}
