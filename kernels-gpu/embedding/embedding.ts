/**
 * Token ids → rows of the residual stream: decode(row of the embedding) · scale (+ a learned position).
 *
 * An id with its highest bit set means "the token that was sampled last in slot …": so a step can be encoded before the
 * one before it has been read back (`sampling/sample.ts` fills the slots).
 *
 * v1: a thread decodes a chunk of 32.
 */
import { ceilDiv, checkSize, defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { numChunks } from "../lanes.ts";
import type { GpuWeightType } from "../weights/format.ts";
import { weightFormat } from "../weights/pack.ts";

/** Marks a token that is still on the GPU; the other bits are its slot. */
export const FROM_SLOT = 0x80000000;

export interface EmbeddingShape {
  weightType: GpuWeightType;
  /** A multiple of 4. */
  width: number;
  scale: number;
  hasPositions: boolean;
}

/** `places`: (position, KV slot) of each token. `positionTable`: [context][width] f32. */
export type EmbeddingBinding = "tokens" | "slots" | "places" | "quants" | "extras" | "positionTable" | "y";

const THREADS = 64;

export function embedding({ weightType, width, scale, hasPositions }: EmbeddingShape): Kernel<EmbeddingBinding> {
  checkSize("an embedding's width", width, 4);
  const chunks = numChunks(width);
  const position = hasPositions ? ` + positionTable[places[token].x * ${width / 4}u + at]` : "";
  const store = (j: number) => /* wgsl */ `
  { let at = chunk * 8u + ${j}u; if (at < ${width / 4}u) { y[token * ${width / 4}u + at] = decode_${j}(source) * ${scale}${position}; } }`;
  return defineKernel({
    name: `embedding v1 ${weightType} ${width}`,
    bindings: {
      tokens: read("array<u32>"),
      slots: read("array<u32>"),
      places: read("array<vec2<u32>>"),
      quants: read("array<vec4<u32>>"),
      extras: read("array<u32>"),
      positionTable: read("array<vec4<f32>>"),
      y: readWrite("array<vec4<f32>>"),
    },
    body: /* wgsl */ `
${weightFormat(weightType).wgsl(chunks)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let chunk = id.x;
  let token = id.y;
  if (chunk >= ${chunks}u) { return; }
  var row = tokens[token];
  if (row >= ${FROM_SLOT}u) { row = slots[row & ${FROM_SLOT - 1}u]; }
  let source = load_chunk(row, chunk);
  ${Array.from({ length: 8 }, (_, j) => store(j)).join("")}
}`,
  });
}

export const embeddingWorkgroups = ({ width }: EmbeddingShape, numTokens: number): [number, number] => [
  ceilDiv(numChunks(width), THREADS),
  numTokens,
];
