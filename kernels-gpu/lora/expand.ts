/**
 * y += scale · B · h for the rows of a step that have an adapter, where y is what a product has stored.
 *
 * A thread has four columns of one projection for the rows of an item; what an item's rows have of `h` lies in workgroup
 * memory. Sums go from the first rank to the last, one fma each.
 *
 * v1.
 */
import { ceilDiv, checkSize, defineKernel, type Kernel, read, readWrite, repeat } from "../kernel.ts";
import { type LoraType, unitType, unitWgsl } from "./pack.ts";
import { columnUnits, LORA_TOKENS, type LoraPart } from "./segments.ts";

export interface ExpandShape {
  type: LoraType;
  parts: readonly LoraPart[];
  /** Of a row of y. */
  width: number;
  /** As that of `shrink.ts`. */
  rankMax: number;
}

export type ExpandBinding = "items" | "rows" | "segments" | "h" | "b" | "y";

const THREADS = 64;

/** Dispatch `expandWorkgroups`. */
export function loraExpand({ type, parts, width, rankMax }: ExpandShape): Kernel<ExpandBinding> {
  checkSize("an adapter's output", width);
  checkSize("an adapter's rank", rankMax);
  const forTokens = (body: string) => repeat("m", LORA_TOKENS, body);
  const table = parts.map(
    ({ n, firstColumn, columnStep }) => `vec4<u32>(${n}u, ${columnUnits(n)}u, ${firstColumn}u, ${columnStep}u)`,
  );
  const store = repeat(
    "c",
    4,
    `if (column + c < part.x) {
      let to = rows[item.y + m] * ${width}u + part.z + (column + c) * part.w;
      y[to] = fma(scale, sum[m][c], y[to]);
    }`,
  );
  return defineKernel({
    name: `lora-expand v1 ${type} ${parts.map(({ n }) => n).join("+")}x${rankMax}`,
    bindings: {
      items: read("array<vec4<u32>>"),
      rows: read("array<u32>"),
      segments: read("array<vec4<u32>>"),
      h: read("array<f32>"),
      b: read(unitType(type)),
      y: readWrite("array<f32>"),
    },
    body: /* wgsl */ `
${unitWgsl(type)}
var<workgroup> own: array<f32, ${LORA_TOKENS * rankMax}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let item = items[workgroup.y];
  let segment = segments[item.x * ${1 + parts.length}u + 1u + workgroup.z];
  let rank = segment.y;
  if (rank == 0u) { return; }
  for (var i = index; i < ${LORA_TOKENS}u * rank; i += ${THREADS}u) {
    let token = item.y + min(i / rank, item.z - 1u);
    own[i] = h[token * ${parts.length * rankMax}u + segment.x + i % rank];
  }
  workgroupBarrier();
  // Columns, units of a rank, first column in y, step in y.
  var parts = array<vec4<u32>, ${parts.length}>(${table.join(", ")});
  let part = parts[workgroup.z];
  let unit = workgroup.x * ${THREADS}u + index;
  if (unit >= part.y) { return; }
  let column = unit * 4u;
  let scale = bitcast<f32>(segment.w);
  var sum: array<vec4<f32>, ${LORA_TOKENS}>;
  for (var r = 0u; r < rank; r++) {
    let w = columns_of(segment.z + r * part.y + unit);
    ${forTokens("sum[m] = fma(w, vec4<f32>(own[m * rank + r]), sum[m]);")}
  }
  ${forTokens(`if (m < item.z) { ${store} }`)}
}`,
  });
}

export function expandWorkgroups({ parts }: ExpandShape, numItems: number): [number, number, number] {
  const units = Math.max(...parts.map(({ n }) => columnUnits(n)));
  return [ceilDiv(units, THREADS), numItems, parts.length];
}
