/** StepBatch → the lists that the kernels read. */
import { planDecode, planPrefill, type Run } from "../../../kernels-gpu/attention/plan.ts";
import { planLora } from "../../../kernels-gpu/lora/segments.ts";
import { encodeAdjustments, encodeOutput, OUTPUT_WORDS } from "../../../kernels-gpu/sampling/outputs.ts";
import type { RowOutput, StepSequence } from "../../serving/backend.ts";
import { needsLogits } from "../../serving/validate-batch.ts";
import type { StepSize } from "./forward.ts";
import { DECODE_ROWS_MAX, type GpuPlan } from "./options.ts";
import type { StepBuffer } from "./step-buffer.ts";

/** A wanted output and its row in the step's residual stream. */
export interface WantedOutput {
  row: number;
  output: RowOutput;
}

export function encodeBody(
  step: StepBuffer,
  sequences: readonly StepSequence[],
  { blockTokens }: GpuPlan,
  options: { window: number; prefillTokens: number },
): { size: StepSize; wanted: WantedOutput[] } {
  const tokens: number[] = [];
  const places: number[] = [];
  const adapters: number[] = [];
  const decodes: Run[] = [];
  const prefills: Run[] = [];
  const wanted: WantedOutput[] = [];
  let tableStart = 0;
  for (const sequence of sequences) {
    const { startPosition, blockTable, outputs, adapter = 0 } = sequence;
    const numRows = sequence.tokens.length;
    const firstRow = tokens.length;
    const numBlocks = Math.ceil((startPosition + numRows) / blockTokens);
    step.set(
      "tables",
      Array.from({ length: numBlocks }, (_, i) => blockTable[i]!),
      tableStart,
    );
    for (let i = 0; i < numRows; i++) {
      const position = startPosition + i;
      tokens.push(sequence.tokens[i]!);
      adapters.push(adapter);
      places.push(position, blockTable[Math.floor(position / blockTokens)]! * blockTokens + (position % blockTokens));
    }
    const run = { firstRow, numRows, startPosition, tableStart };
    (numRows <= DECODE_ROWS_MAX ? decodes : prefills).push(run);
    for (const output of outputs) wanted.push({ row: firstRow + output.row, output });
    tableStart += numBlocks;
  }
  const all = planDecode(decodes, 0);
  const local = planDecode(decodes, options.window);
  const prefillItems = planPrefill(prefills, options.prefillTokens);
  const lora = planLora(adapters);
  step.set("counts", [tokens.length]);
  step.set("tokens", tokens);
  step.set("places", places);
  step.set("spans", all.spans);
  step.set("localSpans", local.spans);
  step.set("decodeItems", all.items);
  step.set("localItems", local.items);
  step.set("prefillItems", prefillItems);
  step.set("loraRows", lora.rows);
  step.set("loraItems", lora.items);
  const size = {
    numTokens: tokens.length,
    numSpans: all.spans.length / 4,
    numItems: all.items.length / 4,
    numLocalItems: local.items.length / 4,
    numPrefillItems: prefillItems.length / 4,
    numLoraItems: lora.items.length / 4,
  };
  return { size, wanted };
}

/** Outputs that are computed together: rows for the head, each once, and what becomes of them. */
export interface OutputTurn {
  outputs: RowOutput[];
  /** Row of each output among those of the head. */
  headRows: number[];
  numHeadRows: number;
  /** The first of them, which want logits. */
  numLogitRows: number;
  numAdjustments: number;
}

/** Fills the head's lists with as many of `wanted`, from `first` on, as there is room for. */
export function encodeHead(
  step: StepBuffer,
  wanted: readonly WantedOutput[],
  first: number,
  plan: GpuPlan,
): OutputTurn {
  const { maxOutputs, maxAdjustments } = plan;
  const adjustments: number[] = [];
  const chosen: WantedOutput[] = [];
  for (const one of wanted.slice(first, first + maxOutputs)) {
    const own = encodeAdjustments(chosen.length, one.output);
    if (adjustments.length + own.length > 4 * maxAdjustments) break;
    for (const word of own) adjustments.push(word);
    chosen.push(one);
  }
  const outputs = chosen.map(({ output }) => output);
  const withLogits = new Set(chosen.filter(({ output }) => needsLogits(output)).map(({ row }) => row));
  const rows = [...new Set([...withLogits, ...chosen.map(({ row }) => row)])];
  const headRows = chosen.map(({ row }) => rows.indexOf(row));
  const maskStarts = encodeMasks(step, outputs, plan);
  const words = new Uint32Array(OUTPUT_WORDS);
  for (const [index, output] of outputs.entries()) {
    encodeOutput(words, output, { logitRow: headRows[index]!, maskStart: maskStarts[index]!, slot: null });
    step.set("outputs", words, index * OUTPUT_WORDS);
  }
  step.set("headCounts", [withLogits.size]);
  step.set("adjustCounts", [adjustments.length / 4]);
  step.set("headRows", rows);
  step.set("adjustments", adjustments);
  return {
    outputs,
    headRows,
    numHeadRows: rows.length,
    numLogitRows: withLogits.size,
    numAdjustments: adjustments.length / 4,
  };
}

/** @returns where the mask of each output begins, those that are the same once; null for none */
function encodeMasks(step: StepBuffer, outputs: readonly RowOutput[], { maskWords }: GpuPlan): (number | null)[] {
  const starts = new Map<Uint32Array, number>();
  return outputs.map(({ sample }) => {
    const allowed = sample?.allowed ?? null;
    if (allowed === null) return null;
    const start = starts.get(allowed) ?? starts.size * maskWords;
    if (!starts.has(allowed)) step.set("masks", allowed, start);
    starts.set(allowed, start);
    return start;
  });
}
