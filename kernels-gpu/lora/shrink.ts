/**
 * x · A for the rows of a step that have an adapter, for all projections of the site: what `expand.ts` reads.
 *
 * A workgroup has 8 groups of 16 lanes; a group computes one row of A for the rows of one item, in the order of `lanes.ts`.
 * So a row of the step has the same bits in whatever item it is.
 *
 * v1.
 */
import { ceilDiv, checkSize, defineKernel, type Kernel, read, readWrite, repeat } from "../kernel.ts";
import { NUM_LANES, numChunks } from "../lanes.ts";
import { DOT4_WGSL } from "../matmul/matmul.ts";
import { weightFormat } from "../weights/pack.ts";
import type { LoraType } from "./pack.ts";
import { LORA_TOKENS } from "./segments.ts";

export interface ShrinkShape {
  type: LoraType;
  k: number;
  numParts: number;
  /** Largest rank of all adapters and sites, so that sites of one shape have one kernel. */
  rankMax: number;
}

export type ShrinkBinding = "items" | "rows" | "segments" | "x" | "quants" | "h";

const GROUPS = 8;

/** Dispatch `shrinkWorkgroups`. `x`: lane-major rows of the step; `h`: rows in the order of `rows`. */
export function loraShrink({ type, k, numParts, rankMax }: ShrinkShape): Kernel<ShrinkBinding> {
  checkSize("an adapter's columns", k);
  checkSize("an adapter's rank", rankMax);
  const chunks = numChunks(k);
  const forTokens = (body: string) => repeat("m", LORA_TOKENS, body);
  const steps = Array.from(
    { length: 8 },
    (_, j) =>
      `{ let w = decode_${j}(source); ${forTokens(`sum[m] = dot4(w, x[x_at[m] + at + ${j}u * width], sum[m]);`)} }`,
  );
  return defineKernel({
    name: `lora-shrink v1 ${type} ${numParts}x${rankMax}x${k}`,
    bindings: {
      items: read("array<vec4<u32>>"),
      rows: read("array<u32>"),
      segments: read("array<vec4<u32>>"),
      x: read("array<vec4<f32>>"),
      quants: read("array<vec4<u32>>"),
      h: readWrite("array<f32>"),
    },
    body: /* wgsl */ `
${weightFormat(type).wgsl(chunks)}
${DOT4_WGSL}
const NUM_CHUNKS = ${chunks}u;
var<workgroup> sums: array<f32, ${GROUPS * LORA_TOKENS * NUM_LANES}>;

@compute @workgroup_size(${GROUPS * NUM_LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let item = items[workgroup.y];
  let segment = segments[item.x * ${1 + numParts}u];
  if (workgroup.x * ${GROUPS}u >= segment.y) { return; }
  let lane = index % ${NUM_LANES}u;
  let group = index / ${NUM_LANES}u;
  let r = workgroup.x * ${GROUPS}u + group;
  let a_row = segment.x + min(r, segment.y - 1u);
  var x_at: array<u32, ${LORA_TOKENS}>;
  ${forTokens(`x_at[m] = rows[item.y + min(m, item.z - 1u)] * ${chunks * 8}u;`)}
  var sum: array<f32, ${LORA_TOKENS}>;
  for (var chunk = lane; chunk < NUM_CHUNKS; chunk += ${NUM_LANES}u) {
    let first = chunk - lane;
    let width = min(${NUM_LANES}u, NUM_CHUNKS - first);
    let at = first * 8u + lane;
    let source = load_chunk(a_row, chunk);
    ${steps.join("\n    ")}
  }
  ${forTokens(`sums[(group * ${LORA_TOKENS}u + m) * ${NUM_LANES}u + lane] = sum[m];`)}
  workgroupBarrier();
  if (lane < item.z && r < segment.y) {
    var total = 0.0;
    for (var i = 0u; i < ${NUM_LANES}u; i++) { total += sums[(group * ${LORA_TOKENS}u + lane) * ${NUM_LANES}u + i]; }
    h[(item.y + lane) * ${numParts * rankMax}u + r] = total;
  }
}`,
  });
}

/** @param numOwnRows of `planSegments` */
export const shrinkWorkgroups = (numOwnRows: number, numItems: number): [number, number] => [
  ceilDiv(numOwnRows, GROUPS),
  numItems,
];
