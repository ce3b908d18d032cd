/**
 * Low-rank adapters (LoRA: Hu et al. 2021, arXiv:2106.09685) in a batch whose rows have different ones or none, as SGMV
 * does it (Punica: Chen et al. 2023, arXiv:2310.18547): a step's rows are sorted by adapter and cut into items; `shrink.ts`
 * multiplies an item's rows by its adapter's A, `expand.ts` adds scale · B times that to what a product has stored.
 * Rows without an adapter are in no item and are not touched.
 *
 * A site is what one product computes: several projections of the same input, such as q, k and v. Of all adapters it has
 *  - the rows of A, lane-major as any weights, adapter after adapter, in each the projections one after another;
 *  - B transposed, [rank][n], so that threads side by side read columns side by side (`pack.ts`);
 *  - `segments`, four words each: for each adapter one of (first row of A, rows, 0, 0), then for each projection one of
 *    (its first row among the adapter's, rank, first unit of B, scale as f32 bits). Rank 0 = not adapted.
 */
import { floatBits } from "../sampling/outputs.ts";

/** Rows of an item: what a workgroup reads A or B once for. */
export const LORA_TOKENS = 4;

/** Where the results of a projection lie in a row of the product's output. */
export interface LoraPart {
  n: number;
  firstColumn: number;
  /** 2 for gate and up, which are interleaved. */
  columnStep: number;
}

/** A projection of one adapter. */
export interface LoraSegment {
  rank: number;
  scale: number;
}

/** Units of four columns in a rank of B. */
export const columnUnits = (n: number): number => Math.ceil(n / 4);

export interface SegmentPlan {
  segments: Uint32Array<ArrayBuffer>;
  /** Of A. */
  numRows: number;
  /** Rows of A that one adapter has, at the most. */
  numOwnRows: number;
  /** Of B. */
  numUnits: number;
}

/** @param adapters for each of them, the segment of each part; null = that projection is not adapted */
export function planSegments(
  parts: readonly LoraPart[],
  adapters: readonly (readonly (LoraSegment | null)[])[],
): SegmentPlan {
  const words: number[] = [];
  let [numRows, numUnits, numOwnRows] = [0, 0, 0];
  for (const adapter of adapters) {
    const own: number[] = [];
    let rows = 0;
    for (const [i, { n }] of parts.entries()) {
      const { rank, scale } = adapter[i] ?? { rank: 0, scale: 0 };
      own.push(rows, rank, numUnits, floatBits(scale));
      rows += rank;
      numUnits += rank * columnUnits(n);
    }
    words.push(numRows, rows, 0, 0, ...own);
    numRows += rows;
    numOwnRows = Math.max(numOwnRows, rows);
  }
  return { segments: Uint32Array.from(words), numRows, numOwnRows, numUnits };
}

/**
 * The work of a step.
 * @param adapters of each row of the step; 0 = none
 * @returns rows sorted by adapter, and items of (adapter − 1, first in `rows`, how many, 0)
 */
export function planLora(adapters: ArrayLike<number>): { rows: number[]; items: number[] } {
  const byAdapter = new Map<number, number[]>();
  for (let row = 0; row < adapters.length; row++) {
    const adapter = adapters[row]!;
    if (adapter === 0) continue;
    const own = byAdapter.get(adapter);
    if (own === undefined) byAdapter.set(adapter, [row]);
    else own.push(row);
  }
  const rows: number[] = [];
  const items: number[] = [];
  for (const [adapter, own] of byAdapter) {
    for (let i = 0; i < own.length; i += LORA_TOKENS) {
      items.push(adapter - 1, rows.length + i, Math.min(LORA_TOKENS, own.length - i), 0);
    }
    for (const row of own) rows.push(row);
  }
  return { rows, items };
}
