/** Hugging Face transformers on the same shape and the same requests, where Python has it: what people would run else. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CommandError } from "../../model/errors.ts";
import { SHAPES, type ShapeName } from "../gguf-shapes.ts";
import type { Section, SectionContext } from "./section.ts";

const SCRIPT = join(import.meta.dirname, "hf_generate.py");

/** The requests of `model-sections.ts`, and how many of them the arm that takes one at a time gets. */
const GPU_LOAD = { requests: 64, prompt: 512, new: 128, alone: 3 };
const SOFTWARE_LOAD = { requests: 3, prompt: 16, new: 4, alone: 1 };

export function hfSection(shape: ShapeName, budgetS: Section["budgetS"]): Section {
  return {
    name: `transformers ${shape}`,
    budgetS,
    run: (context) => runTransformers(context, context.software ? "tiny" : shape),
  };
}

async function runTransformers({ software, python, report, say }: SectionContext, shape: ShapeName): Promise<void> {
  const device = software ? "cpu" : "cuda";
  await checkPython(python, device);
  const { numLayers, dModel, numHeads, numKvHeads, ffnDim, vocabSize } = SHAPES[shape];
  const sizes = {
    layers: numLayers,
    width: dModel,
    heads: numHeads,
    "kv-heads": numKvHeads,
    ffn: ffnDim,
    vocab: vocabSize,
    ...(software ? SOFTWARE_LOAD : GPU_LOAD),
  };
  const args = Object.entries(sizes).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(python, [SCRIPT, ...args, "--device", device], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (piece) => (errors = (errors + piece).slice(-2000)));
  const closed = once(child, "close") as Promise<[number | null, string | null]>;
  for await (const line of createInterface(child.stdout)) {
    // Libraries print what they like.
    if (!line.startsWith('{"name"')) continue;
    const { name, value } = JSON.parse(line) as { name: string; value: { outputTokensPerS?: number } };
    report(name, value);
    if (value.outputTokensPerS !== undefined) say(`${name}: ${value.outputTokensPerS.toFixed(1)} tokens/s`);
  }
  const [code, signal] = await closed;
  if (code !== 0) throw new Error(`${python} ended with ${code ?? signal}: ${errors}`);
}

/** @throws CommandError which says what is missing */
async function checkPython(python: string, device: "cuda" | "cpu"): Promise<void> {
  const program = `import torch, transformers; assert ${device === "cuda" ? "torch.cuda.is_available()" : "True"}, "torch sees no CUDA device"`;
  const child = spawn(python, ["-c", program], { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.on("data", (piece) => (errors += piece));
  const code = await new Promise<number | null>((resolve) => {
    child.once("error", ({ message }) => {
      errors = message;
      resolve(null);
    });
    child.once("close", resolve);
  });
  if (code !== 0) throw new CommandError(`No transformers to compare with: ${errors.trim().split("\n").at(-1)}`);
}
