/**
 * Whole KV blocks copied within a layer's pages, for copy-on-write. v1: a thread copies 16 bytes.
 *
 * The kernel copies all pairs at once, but a batch's copies are in order and may build on each other: `planCopies` turns
 * them into rounds in which nothing that is read is written.
 */
import type { BlockCopy } from "../../src/serving/backend.ts";
import { ceilDiv, checkSize, defineKernel, type Kernel, read, readWrite } from "../kernel.ts";

const THREADS = 64;

/** `pairs`: (from, to). `pages`: keys, values or scales of one layer. */
export type CopyBlocksBinding = "pairs" | "pages";

/** @param blockBytes a multiple of 16 */
export function copyBlocks(blockBytes: number): Kernel<CopyBlocksBinding> {
  checkSize("bytes of a KV block", blockBytes, 16);
  const units = blockBytes / 16;
  return defineKernel({
    name: `copy-blocks v1 ${blockBytes}`,
    bindings: { pairs: read("array<vec2<u32>>"), pages: readWrite("array<vec4<u32>>") },
    body: /* wgsl */ `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${units}u) { return; }
  let pair = pairs[id.y];
  pages[pair.y * ${units}u + id.x] = pages[pair.x * ${units}u + id.x];
}`,
  });
}

export const copyWorkgroups = (blockBytes: number, numPairs: number): [number, number] => [
  ceilDiv(blockBytes / 16, THREADS),
  numPairs,
];

/** @returns rounds of copies that may run at once, together the same as `copies` one after another */
export function planCopies(copies: readonly BlockCopy[]): BlockCopy[][] {
  const rounds: BlockCopy[][] = [];
  let round = new Map<number, number>();
  for (const { from, to } of copies) {
    // The block whose content before this round is what `from` holds by now.
    const origin = round.get(from) ?? from;
    if (from === to || (origin === to && !round.has(to))) continue;
    const isRead = Array.from(round.values()).includes(to);
    if (isRead || round.has(origin)) {
      rounds.push(Array.from(round, ([target, source]) => ({ from: source, to: target })));
      round = new Map([[to, from]]);
    } else {
      round.set(to, origin);
    }
  }
  if (round.size > 0) rounds.push(Array.from(round, ([to, from]) => ({ from, to })));
  return rounds;
}
