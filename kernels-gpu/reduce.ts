/**
 * One number from a workgroup: `reduce(index, value)` returns the sum or the maximum of all threads' values to every thread.
 * With subgroups each of them reduces its own in registers and one barrier is enough; without, a tree through workgroup
 * memory. Either has a fixed order, so the same values give the same bits.
 */
export interface Subgroups {
  /** The device has subgroup operations and WGSL's `subgroup_id`. */
  subgroups: boolean;
}

export const subgroupDirectives = ({ subgroups }: Subgroups): string =>
  subgroups ? "enable subgroups;\nrequires subgroup_id;" : "";

/** Parameters of `main` that `reduce` needs, to be added to its own. */
export const subgroupParameters = ({ subgroups }: Subgroups): string =>
  subgroups ? ", @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) num_subgroups: u32" : "";

/** The call, so that no kernel has to care which way it is. `value` may have side effects: it is evaluated once. */
export const reduceCall = ({ subgroups }: Subgroups, name: string, value: string): string =>
  subgroups ? `reduce_${name}(index, subgroup, num_subgroups, ${value})` : `reduce_${name}(index, ${value})`;

/** May be called again and again; begins and ends with a barrier. */
export function reduceWgsl({ subgroups }: Subgroups, name: "sum" | "max", threads: number): string {
  const combine = (a: string, b: string) => (name === "sum" ? `${a} + ${b}` : `max(${a}, ${b})`);
  if (subgroups) {
    return /* wgsl */ `
// A subgroup has at least 4 threads.
var<workgroup> ${name}_parts: array<f32, ${threads / 4}>;
fn reduce_${name}(index: u32, subgroup: u32, num_subgroups: u32, value: f32) -> f32 {
  let own = ${name === "sum" ? "subgroupAdd" : "subgroupMax"}(value);
  workgroupBarrier();
  if (subgroupElect()) { ${name}_parts[subgroup] = own; }
  workgroupBarrier();
  var all = ${name}_parts[0];
  for (var i = 1u; i < num_subgroups; i++) { all = ${combine("all", `${name}_parts[i]`)}; }
  return all;
}`;
  }
  return /* wgsl */ `
var<workgroup> ${name}_parts: array<f32, ${threads}>;
fn reduce_${name}(index: u32, value: f32) -> f32 {
  workgroupBarrier();
  ${name}_parts[index] = value;
  workgroupBarrier();
  for (var stride = ${threads / 2}u; stride > 0u; stride /= 2u) {
    if (index < stride) { ${name}_parts[index] = ${combine(`${name}_parts[index]`, `${name}_parts[index + stride]`)}; }
    workgroupBarrier();
  }
  return ${name}_parts[0];
}`;
}
