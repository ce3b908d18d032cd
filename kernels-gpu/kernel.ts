/**
 * A kernel as data: its WGSL, and the buffers that it reads and writes, by name. Everything that is fixed for a model
 * (widths, head sizes, weight types) is a constant in the text, so that a compiler can unroll; everything that changes
 * from step to step is read from storage buffers that one upload fills, so that bind groups are made once.
 *
 * Conventions of all kernels:
 *  - entry point `main`, bind group 0, bindings in the order of `bindings`;
 *  - activations are f32, sums are f32, f16 and bf16 are unpacked from u32: no `shader-f16`;
 *  - no size of a subgroup is assumed; without subgroups everything runs through workgroup memory;
 *  - a row's result depends on nothing but that row: sums have one order, whatever else is in the batch.
 */
export interface Binding {
  access: "read" | "read_write";
  /** WGSL type of the whole buffer, such as `array<vec4<f32>>`. */
  type: string;
}

export interface Kernel<Name extends string = string> {
  /** For labels and profiles, with the version and what was specialised: "rms-norm v1 4096". */
  readonly name: string;
  readonly bindings: Readonly<Record<Name, Binding>>;
  /** Complete module. */
  readonly wgsl: string;
}

interface KernelParts<Name extends string> {
  name: string;
  bindings: Record<Name, Binding>;
  /** `enable` and `requires` lines. */
  directives?: string;
  /** Everything behind the declarations of the bindings. */
  body: string;
}

export function defineKernel<Name extends string>({
  name,
  bindings,
  directives,
  body,
}: KernelParts<Name>): Kernel<Name> {
  const declarations = Object.entries<Binding>(bindings).map(
    ([variable, { access, type }], i) => `@group(0) @binding(${i}) var<storage, ${access}> ${variable}: ${type};`,
  );
  return { name, bindings, wgsl: `${directives ?? ""}\n${declarations.join("\n")}\n${body}` };
}

export const read = (type: string): Binding => ({ access: "read", type });
export const readWrite = (type: string): Binding => ({ access: "read_write", type });

export const ceilDiv = (value: number, by: number): number => Math.ceil(value / by);

/** A positive whole number, or an error that names it. Kernels are specialised on their sizes: a bad one must not compile. */
export function checkSize(name: string, value: number, multipleOf = 1): void {
  if (!Number.isInteger(value) || value <= 0 || value % multipleOf !== 0) {
    const rule = multipleOf === 1 ? "a positive whole number" : `a positive multiple of ${multipleOf}`;
    throw new RangeError(`A kernel was asked for with ${name} = ${value}; it must be ${rule}.`);
  }
}

/**
 * WGSL of `body` with `variable` = 0 … count − 1, written out: WGSL has no way to ask for that, and an array indexed by the
 * variable of a loop that is left a loop lies in memory instead of registers.
 */
export function repeat(variable: string, count: number, body: string): string {
  return Array.from({ length: count }, (_, i) => `{ const ${variable} = ${i}u; ${body} }`).join("\n");
}
