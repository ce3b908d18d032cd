/** The tensors of every layer by their roles, also where a file keeps several roles in one tensor. */
import type { ArchitectureTable, FusedRule, Shape, Widths } from "./architectures.ts";
import { LAYER_ROLES, type LayerRole, type LayerTensors, type RoleTensor } from "./model-spec.ts";
import type { TensorFinder } from "./tensor-finder.ts";

/** @throws ModelError where one is missing or has another shape or type than its role */
export function readLayers(
  numLayers: number,
  table: ArchitectureTable,
  finder: TensorFinder,
  widths: Widths,
): LayerTensors[] {
  return Array.from({ length: numLayers }, (_, i) => readLayer(`blk.${i}.`, table, finder, widths));
}

function readLayer(prefix: string, table: ArchitectureTable, finder: TensorFinder, widths: Widths): LayerTensors {
  const layer = Object.fromEntries(LAYER_ROLES.map((role) => [role, null])) as Record<LayerRole, RoleTensor | null>;
  for (const rule of table.fused) {
    if (finder.has(prefix + rule.name)) Object.assign(layer, readFused(rule, prefix, table, finder, widths));
  }
  for (const role of LAYER_ROLES) {
    const rule = table.layer[role];
    if (rule !== undefined) layer[role] ??= finder.required(rule, prefix, widths);
  }
  // The table has a rule for every role that is never null.
  return layer as LayerTensors;
}

function readFused(
  { name, roles }: FusedRule,
  prefix: string,
  table: ArchitectureTable,
  finder: TensorFinder,
  widths: Widths,
): Partial<Record<LayerRole, RoleTensor>> {
  const shapes = roles.map((role) => table.layer[role]!.shape);
  const numRows = shapes.map((shape) => widths["vector" in shape ? shape.vector : shape.out]);
  const first = shapes[0] as Shape;
  const total = numRows.reduce((sum, rows) => sum + rows, 0);
  const stored =
    "vector" in first
      ? finder.vector(prefix + name, total)
      : finder.matrix(prefix + name, { out: total, in: widths[first.in] });
  let firstRow = 0;
  const parts = roles.map((role, i) => {
    const part = rowsOf(stored, firstRow, numRows[i]!);
    firstRow += numRows[i]!;
    return [role, part] as const;
  });
  return Object.fromEntries(parts);
}

function rowsOf(whole: RoleTensor, firstRow: number, numRows: number): RoleTensor {
  const rowBytes = whole.sizeBytes / whole.dims.at(-1)!;
  return {
    ...whole,
    dims: [...whole.dims.slice(0, -1), numRows],
    offsetBytes: whole.offsetBytes + firstRow * rowBytes,
    sizeBytes: numRows * rowBytes,
    firstRow,
  };
}
