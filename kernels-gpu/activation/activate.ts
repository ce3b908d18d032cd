/**
 * The activation of a feed-forward layer on its own: what the epilogues of `matmul/` do with a sum that they still hold,
 * for sums that something was added to after they were stored. Same formulas, same bits.
 *
 * v1.
 */
import { ceilDiv, defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { checkMatmul, type Epilogue, epilogueWgsl, isGated } from "../matmul/matmul.ts";

export interface ActivateShape {
  /** Stored sums of a row; of gated epilogues, gate and up side by side. */
  n: number;
  epilogue: Extract<Epilogue, "silu" | "gelu-tanh" | "gelu-tanh-single">;
}

export type ActivateBinding = "x" | "y";

const THREADS = 64;

const numResults = ({ n, epilogue }: ActivateShape): number => (isGated(epilogue) ? n / 2 : n);

/** Dispatch `activateWorkgroups`. `x`: [token][n]; `y`: lane-major rows, as the products behind read them. */
export function activate(shape: ActivateShape): Kernel<ActivateBinding> {
  const { n, epilogue } = shape;
  checkMatmul({ ...shape, weightType: "F32", k: 1, hasBias: false });
  return defineKernel({
    name: `activate v1 ${epilogue} ${n}`,
    bindings: { x: read("array<f32>"), y: readWrite("array<f32>") },
    body: /* wgsl */ `
${epilogueWgsl({ n, epilogue, hasBias: false })}
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${numResults(shape)}u) { return; }
  ${
    isGated(epilogue)
      ? `finish_pair(id.y, 2u * id.x, x[id.y * ${n}u + 2u * id.x], x[id.y * ${n}u + 2u * id.x + 1u]);`
      : `finish(id.y, id.x, x[id.y * ${n}u + id.x]);`
  }
}`,
  });
}

export const activateWorkgroups = (shape: ActivateShape, numTokens: number): [number, number] => [
  ceilDiv(numResults(shape), THREADS),
  numTokens,
];
