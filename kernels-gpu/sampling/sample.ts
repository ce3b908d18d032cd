/**
 * Candidates → a token for each output. The steps are those of the CPU engine (`wasm/src/sampler`): greedy, or weights
 * exp((logit − max) / temperature); min-p, then top-k, then top-p of what is left; one draw by Philox with the request's key
 * and the token's number. Ties go to the lower id. At the end the token is put into its slot, where the next step's
 * embedding finds it.
 *
 * Nothing is sorted. Filters find the smallest weight to keep by histograms of 7 bits, from the highest bits down; a token
 * at a place in the distribution is found by summing 256 ranges and looking into the right one. Weights are whole numbers
 * (`outputs.ts`), so that all sums are exact. Of the draw's 53 bits the first 32 are used.
 *
 * v1: a workgroup of 256 for each output; about ten passes over a vocabulary that stays in the L2 cache.
 */
import { defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { reduceCall, reduceWgsl, type Subgroups, subgroupDirectives, subgroupParameters } from "../reduce.ts";
import { STRUCK } from "./adjust.ts";
import { FIELD, FLAG, NO_TOKEN, OUTPUT_WORDS, VOCAB_MAX, WEIGHT_MAX } from "./outputs.ts";
import { PHILOX_WGSL, WIDE_WGSL } from "./wide.ts";

const THREADS = 256;
const BINS = 128;

export interface SampleShape extends Subgroups {
  vocabSize: number;
}

/** `candidates` is overwritten. `tokens`: [output]; NO_TOKEN where nothing was to be drawn. `slots`: see `embedding.ts`. */
export type SampleBinding = "outputs" | "candidates" | "tokens" | "slots";

/** Dispatch one workgroup for each output. */
export function sample(shape: SampleShape): Kernel<SampleBinding> {
  const { vocabSize } = shape;
  if (vocabSize > VOCAB_MAX) {
    throw new RangeError(`A vocabulary of ${vocabSize} tokens cannot be sampled on the GPU; at most ${VOCAB_MAX} can.`);
  }
  const forTokens = (body: string) =>
    `for (var i = index; i < ${vocabSize}u; i += ${THREADS}u) { let w = candidates[base + i]; ${body} }`;
  return defineKernel({
    name: `sample v1 ${vocabSize}`,
    directives: subgroupDirectives(shape),
    bindings: {
      outputs: read("array<u32>"),
      candidates: readWrite("array<u32>"),
      tokens: readWrite("array<u32>"),
      slots: readWrite("array<u32>"),
    },
    body: /* wgsl */ `
${reduceWgsl(shape, "max", THREADS)}
${WIDE_WGSL}
${PHILOX_WGSL}
var<workgroup> lowest: atomic<u32>;
var<workgroup> low_sums: array<atomic<u32>, ${BINS}>;
var<workgroup> high_sums: array<atomic<u32>, ${BINS}>;
var<workgroup> range_sums: array<vec2<u32>, ${THREADS}>;
// Found by one thread for all: a bin and what is missing in it, or a range and what is missing in that.
var<workgroup> found: u32;
var<workgroup> missing: vec2<u32>;

const COUNT = 0u;
const MASS = 1u;
const TIES = 2u;

// A token counts while its weight is more than cut, or equal to it and its id at most tie.
struct Kept { cut: u32, tie: u32 }

fn is_kept(kept: Kept, w: u32, id: u32) -> bool { return w > kept.cut || (w == kept.cut && id <= kept.tie); }

fn measure(kind: u32, kept: Kept, w: u32, id: u32) -> u32 {
  if (!is_kept(kept, w, id)) { return 0u; }
  if (kind == MASS) { return w; }
  return select(0u, 1u, kind == COUNT || w == kept.cut);
}

// What the tokens of each of 256 ranges of [start, end) measure goes to range_sums. @returns tokens of a range
fn sum_ranges(index: u32, base: u32, kind: u32, kept: Kept, start: u32, end: u32) -> u32 {
  let each = (end - start + ${THREADS - 1}u) / ${THREADS}u;
  var sum = vec2<u32>();
  let first = start + index * each;
  for (var i = first; i < min(first + each, end); i++) {
    sum = wide_add(sum, vec2<u32>(measure(kind, kept, candidates[base + i], i), 0u));
  }
  workgroupBarrier();
  range_sums[index] = sum;
  workgroupBarrier();
  return each;
}

fn total(index: u32, base: u32, kind: u32, kept: Kept) -> vec2<u32> {
  _ = sum_ranges(index, base, kind, kept, 0u, ${vocabSize}u);
  if (index == 0u) {
    var sum = vec2<u32>();
    for (var i = 0u; i < ${THREADS}u; i++) { sum = wide_add(sum, range_sums[i]); }
    missing = sum;
  }
  return workgroupUniformLoad(&missing);
}

// The lowest id up to which the tokens measure more than target_sum; the last that measures anything where none does.
fn find(index: u32, base: u32, kind: u32, kept: Kept, target_sum: vec2<u32>) -> u32 {
  var start = 0u;
  var end = ${vocabSize}u;
  var left = target_sum;
  loop {
    let each = sum_ranges(index, base, kind, kept, start, end);
    if (index == 0u) {
      var last = 0u;
      var place = ${THREADS}u;
      var before_last = left;
      for (var i = 0u; i < ${THREADS}u; i++) {
        let sum = range_sums[i];
        if (sum.x == 0u && sum.y == 0u) { continue; }
        last = i;
        before_last = left;
        if (wide_less(left, sum)) { place = i; break; }
        left = wide_sub(left, sum);
      }
      if (place == ${THREADS}u) { place = last; left = before_last; }
      found = place;
      missing = left;
    }
    let place = workgroupUniformLoad(&found);
    left = workgroupUniformLoad(&missing);
    start += place * each;
    end = min(start + each, end);
    if (each == 1u) { break; }
  }
  return start;
}

// The most times that weight can be added and stay below sum; fewer than there are tokens.
fn whole_below(sum: vec2<u32>, weight: u32) -> u32 {
  var times = 0u;
  for (var bit = ${VOCAB_MAX}u; bit > 0u; bit >>= 1u) {
    if (wide_less(wide_mul(times | bit, weight), sum)) { times |= bit; }
  }
  return times;
}

// Keeps the largest weights until they measure target_sum at least; of equal ones, the lower ids.
fn keep_largest(index: u32, base: u32, kind: u32, kept: Kept, target_sum: vec2<u32>) -> Kept {
  var prefix = 0u;
  var left = target_sum;
  for (var shift = 21i; shift >= 0i; shift -= 7i) {
    workgroupBarrier();
    if (index < ${BINS}u) {
      atomicStore(&low_sums[index], 0u);
      atomicStore(&high_sums[index], 0u);
    }
    workgroupBarrier();
    ${forTokens(`
      if ((w >> u32(shift + 7)) != prefix) { continue; }
      let amount = measure(kind, kept, w, i);
      if (amount == 0u) { continue; }
      let bin = (w >> u32(shift)) & ${BINS - 1}u;
      atomicAdd(&low_sums[bin], amount & 0x3fffu);
      if (amount > 0x3fffu) { atomicAdd(&high_sums[bin], amount >> 14u); }`)}
    workgroupBarrier();
    if (index == 0u) {
      var last = 0u;
      var before_last = left;
      var place = ${BINS}u;
      for (var i = 0u; i < ${BINS}u; i++) {
        let bin = ${BINS - 1}u - i;
        let high = atomicLoad(&high_sums[bin]);
        let sum = wide_add(vec2<u32>(atomicLoad(&low_sums[bin]), 0u), vec2<u32>(high << 14u, high >> 18u));
        if (sum.x == 0u && sum.y == 0u) { continue; }
        last = bin;
        before_last = left;
        if (!wide_less(sum, left)) { place = bin; break; }
        left = wide_sub(left, sum);
      }
      if (place == ${BINS}u) { place = last; left = before_last; }
      found = place;
      missing = left;
    }
    prefix = (prefix << 7u) | workgroupUniformLoad(&found);
    left = workgroupUniformLoad(&missing);
  }
  // Equal weights: as many as are still missing, in the order of ids.
  let ties = Kept(prefix, select(0xffffffffu, kept.tie, prefix == kept.cut));
  let last_tie = select(left.x - 1u, whole_below(left, prefix), kind == MASS);
  return Kept(prefix, find(index, base, TIES, ties, vec2<u32>(last_tie, 0u)));
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32${subgroupParameters(shape)}) {
  let output = workgroup.x * ${OUTPUT_WORDS}u;
  let base = workgroup.x * ${vocabSize}u;
  let flags = outputs[output + ${FIELD.flags}u];
  if ((flags & ${FLAG.samples}u) == 0u) {
    if (index == 0u) { tokens[workgroup.x] = ${NO_TOKEN}u; }
    return;
  }
  if (index == 0u) { atomicStore(&lowest, ${vocabSize - 1}u); }
  var own = -3e38;
  ${forTokens("own = max(own, bitcast<f32>(w));")}
  let top = ${reduceCall(shape, "max", "own")};
  let inverse = bitcast<f32>(outputs[output + ${FIELD.inverseTemperature}u]);
  var token = 0u;
  if (inverse == 0.0) {
    ${forTokens("if (bitcast<f32>(w) == top) { atomicMin(&lowest, i); break; }")}
    workgroupBarrier();
    token = atomicLoad(&lowest);
  } else {
    let least = outputs[output + ${FIELD.minWeight}u];
    ${forTokens(`
      let weight = u32(round(exp((bitcast<f32>(w) - top) * inverse) * ${WEIGHT_MAX}.0));
      let whole = min(weight, ${WEIGHT_MAX}u);
      candidates[base + i] = select(0u, whole, whole >= least && bitcast<f32>(w) > ${STRUCK});`)}
    storageBarrier();
    var kept = Kept(1u, 0xffffffffu);
    let top_k = outputs[output + ${FIELD.topK}u];
    if (top_k > 0u && top_k < ${vocabSize}u) { kept = keep_largest(index, base, COUNT, kept, vec2<u32>(top_k, 0u)); }
    if ((flags & ${FLAG.hasTopP}u) != 0u) {
      let all = total(index, base, MASS, kept);
      let top_p = outputs[output + ${FIELD.topP}u];
      let rest = select(0u, 1u, wide_mul(all.x, top_p).x != 0u);
      kept = keep_largest(index, base, MASS, kept, wide_add(wide_part(all, top_p), vec2<u32>(rest, 0u)));
    }
    let key = vec2<u32>(outputs[output + ${FIELD.keyLow}u], outputs[output + ${FIELD.keyHigh}u]);
    let random = philox(vec4<u32>(outputs[output + ${FIELD.counter}u], 0u, 0u, 0u), key);
    token = find(index, base, MASS, kept, wide_part(total(index, base, MASS, kept), random.x));
  }
  if (index == 0u) {
    tokens[workgroup.x] = token;
    let slot = outputs[output + ${FIELD.slot}u];
    if (slot != ${NO_TOKEN}u) { slots[slot] = token; }
  }
}`,
  });
}
