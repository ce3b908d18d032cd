/**
 * `npm run bench:gpu`: everything that is worth knowing about the GPU engine on one card, in one run of under ten minutes.
 * Sections in processes of their own, the most important first; what fails is recorded and stops nothing else. stdout gets one
 * JSON at the end, stderr a line for whatever was found.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { UsageError } from "../model/errors.ts";
import { parseCount, runCommand, say, writeJson } from "./command.ts";
import { adviseVulkan, inspectVulkan, manifestVariables } from "./gpu/nvidia-vulkan.ts";
import { runSection } from "./gpu/run-section.ts";
import type { SectionContext, SectionResult } from "./gpu/section.ts";
import { sectionsFor } from "./gpu/sections.ts";
import { summarizeGpu } from "./gpu/summary.ts";
import { describeMachine } from "./machine.ts";
import { type GpuResults, RESULT_VERSION } from "./results.ts";

const HELP = `Usage: npm run --silent bench:gpu -- [options]

Adapter and limits; what the card can do at most (memory, f32, f16, tensor cores); every kernel against that; the cost of
dispatches and transfers; models of 1B and 8B shape with random weights: decode of 1, 8, 32 and 128 sequences, prefill,
prefix hits, 64 requests at once, attention at 8,192 tokens; and Hugging Face transformers on the same shapes and requests,
where Python has it. Prints one JSON.

  --json FILE     write the results there as well, after each section
  --budget-s N    seconds for everything (default: 540); what does not fit is skipped
  --only LIST     sections whose names contain one of these words
  --python PATH   Python with torch and transformers (default: python3)
  --software      run on the CPU, at toy sizes. Not a GPU's numbers
  --help          this text`;

/** With less time than this nothing more is begun. */
const SECTION_S_MIN = 5;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      "budget-s": { type: "string", default: "540" },
      only: { type: "string" },
      python: { type: "string", default: "python3" },
      software: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const { software, python, json } = values;
  const budgetS = parseCount("--budget-s", values["budget-s"], 86_400);
  const words = values.only?.split(",") ?? [""];
  const sections = sectionsFor(software).filter(({ name }) => words.some((word) => name.includes(word)));
  if (sections.length === 0) throw new UsageError(`--only is '${values.only}'; no section's name contains that.`);

  const folder = mkdtempSync(join(tmpdir(), "runnel-bench-gpu-"));
  const beganMs = performance.now();
  const restS = () => budgetS - (performance.now() - beganMs) / 1000;
  const results: GpuResults = {
    version: RESULT_VERSION,
    kind: "gpu",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: { budgetS, software },
    sections: {},
    summary: summarizeGpu({}),
  };
  try {
    const env = { ...process.env, ...(software ? {} : vulkanVariables(folder)) };
    const known: SectionContext["known"] = {};
    for (const section of sections) {
      const limitS = Math.min(section.budgetS[software ? "software" : "gpu"], Math.floor(restS()));
      const result: SectionResult =
        restS() < SECTION_S_MIN
          ? { status: "skipped", seconds: 0, reason: "no time was left", values: {} }
          : await runSection({ name: section.name, budgetS: limitS, software, known, python }, { env, say });
      known[section.name] = result.values;
      results.sections[section.name] = result;
      results.summary = summarizeGpu(results.sections);
      say(`${section.name}: ${result.status}, ${result.seconds} s${result.reason ? `: ${result.reason}` : ""}`);
      if (json !== undefined) writeJson(json, results);
      // Without an adapter nothing else can be measured but transformers.
      if (section.name === "adapter" && result.status === "failed") break;
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  console.log(JSON.stringify(results));
  if (Object.values(results.sections).every(({ status }) => status !== "done")) process.exitCode = 1;
}

/** What the sections' processes need in order to find NVIDIA's driver; nothing where it is found anyway. */
function vulkanVariables(folder: string): Record<string, string> {
  if (process.env.VK_DRIVER_FILES !== undefined || process.env.VK_ICD_FILENAMES !== undefined) return {};
  if (process.platform !== "linux") return {};
  const { manifest, lines } = adviseVulkan(inspectVulkan("/", process.env));
  for (const line of lines) say(line);
  if (manifest === null) return {};
  const path = join(folder, "nvidia_icd.json");
  writeFileSync(path, manifest);
  return manifestVariables(path);
}

await runCommand("bench:gpu", main);
