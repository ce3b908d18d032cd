/** StepBatch → the lists that the kernels read. */
import { planDecode, planPrefill, type Run } from "../../../kernels-gpu/attention/plan.ts";
import { FROM_SLOT } from "../../../kernels-gpu/embedding/embedding.ts";
import { planLora } from "../../../kernels-gpu/lora/segments.ts";
import { encodeAdjustments, encodeOutput, OUTPUT_WORDS } from "../../../kernels-gpu/sampling/outputs.ts";
import type { RowOutput, StepSequence } from "../../serving/backend.ts";
import type { StepSize } from "./forward.ts";
import { DECODE_ROWS_MAX, type GpuPlan } from "./options.ts";
import type { StepBuffer } from "./step-buffer.ts";

/** A wanted output, its row in the step's residual stream, and the slot where the next step looks for its token. */
export interface WantedOutput {
  row: number;
  output: RowOutput;
  slot: number | null;
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
  for (const [index, sequence] of sequences.entries()) {
    const { startPosition, blockTable, outputs, adapter = 0, follows = null } = sequence;
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
      tokens.push(i === 0 && follows !== null ? FROM_SLOT + follows : sequence.tokens[i]!);
      adapters.push(adapter);
      places.push(position, blockTable[Math.floor(position / blockTokens)]! * blockTokens + (position % blockTokens));
    }
    const run = { firstRow, numRows, startPosition, tableStart };
    (numRows <= DECODE_ROWS_MAX ? decodes : prefills).push(run);
    for (const output of outputs) wanted.push({ row: firstRow + output.row, output, slot: null });
    if (outputs.length > 0) wanted[wanted.length - 1]!.slot = index;
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

/** Outputs that are computed together: rows of logits, each once, and what becomes of them. */
export interface OutputTurn {
  outputs: RowOutput[];
  /** Row of the logits of each output. */
  logitRows: number[];
  numLogitRows: number;
  numAdjustments: number;
}

/** Fills the head's lists with as many of `wanted`, from `first` on, as there is room for. */
export function encodeHead(
  step: StepBuffer,
  wanted: readonly WantedOutput[],
  first: number,
  { maxOutputs, maxAdjustments }: GpuPlan,
): OutputTurn {
  const rows: number[] = [];
  const turn: OutputTurn = { outputs: [], logitRows: [], numLogitRows: 0, numAdjustments: 0 };
  const adjustments: number[] = [];
  const words = new Uint32Array(OUTPUT_WORDS);
  for (const { row, output, slot } of wanted.slice(first, first + maxOutputs)) {
    const index = turn.outputs.length;
    const own = encodeAdjustments(index, output);
    if (adjustments.length + own.length > 4 * maxAdjustments) break;
    for (const word of own) adjustments.push(word);
    let logitRow = rows.indexOf(row);
    if (logitRow === -1) logitRow = rows.push(row) - 1;
    encodeOutput(words, output, { logitRow, maskStart: null, slot });
    step.set("outputs", words, index * OUTPUT_WORDS);
    turn.outputs.push(output);
    turn.logitRows.push(logitRow);
  }
  step.set("headCounts", [rows.length]);
  step.set("adjustCounts", [adjustments.length / 4]);
  step.set("logitRows", rows);
  step.set("adjustments", adjustments);
  turn.numLogitRows = rows.length;
  turn.numAdjustments = adjustments.length / 4;
  return turn;
}
