/**
 * Log softmax of the raw logits at the scored (or sampled) token, and the most likely alternatives, ties by lower id.
 * Outputs that want none cost nothing. v1: a workgroup of 256 for each output, a pass for each alternative.
 */
import { defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { reduceCall, reduceWgsl, type Subgroups, subgroupDirectives, subgroupParameters } from "../reduce.ts";
import { FIELD, FLAG, NO_TOKEN, NUM_TOP_MAX, OUTPUT_WORDS } from "./outputs.ts";

const THREADS = 256;

/** Words of an output: its log probability, how many alternatives, then (token, log probability) of each. */
export const LOGPROB_WORDS = 2 + 2 * NUM_TOP_MAX;

export type LogprobsBinding = "outputs" | "logits" | "tokens" | "logprobs";

/** Dispatch one workgroup for each output, after `sample`. */
export function logprobs(shape: Subgroups & { vocabSize: number }): Kernel<LogprobsBinding> {
  const { vocabSize } = shape;
  // No order is defined for NaN; its bits are.
  const forTokens = (body: string) => /* wgsl */ `for (var i = index; i < ${vocabSize}u; i += ${THREADS}u) {
      let bits = logits[base + i];
      if ((bits & 0x7fffffffu) <= 0x7f800000u) { let logit = max(bitcast<f32>(bits), LEAST); ${body} }
    }`;
  return defineKernel({
    name: `logprobs v1 ${vocabSize}`,
    directives: subgroupDirectives(shape),
    bindings: {
      outputs: read("array<u32>"),
      logits: read("array<u32>"),
      tokens: read("array<u32>"),
      logprobs: readWrite("array<u32>"),
    },
    body: /* wgsl */ `
const LEAST = -3e38;
${reduceWgsl(shape, "max", THREADS)}
${reduceWgsl(shape, "sum", THREADS)}
var<workgroup> lowest: atomic<u32>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32${subgroupParameters(shape)}) {
  let output = workgroup.x * ${OUTPUT_WORDS}u;
  if ((outputs[output + ${FIELD.flags}u] & ${FLAG.wantsLogprobs}u) == 0u) { return; }
  let base = outputs[output + ${FIELD.logitRow}u] * ${vocabSize}u;
  let to = workgroup.x * ${LOGPROB_WORDS}u;
  var own = LEAST;
  ${forTokens("own = max(own, logit);")}
  let top = ${reduceCall(shape, "max", "own")};
  var part = 0.0;
  ${forTokens("part += exp(logit - top);")}
  let log_sum = log(${reduceCall(shape, "sum", "part")});
  if (index == 0u) {
    var scored = outputs[output + ${FIELD.scoreToken}u];
    if (scored == ${NO_TOKEN}u) { scored = tokens[workgroup.x]; }
    if (scored != ${NO_TOKEN}u) { logprobs[to] = bitcast<u32>(bitcast<f32>(logits[base + scored]) - top - log_sum); }
    logprobs[to + 1u] = outputs[output + ${FIELD.numTop}u];
  }
  // What was reported last: the next is less, or equal with a higher id.
  var last = top;
  var last_id = 0xffffffffu;
  for (var n = 0u; n < outputs[output + ${FIELD.numTop}u]; n++) {
    workgroupBarrier();
    if (index == 0u) { atomicStore(&lowest, 0xffffffffu); }
    var best = LEAST;
    ${forTokens("if (n == 0u || logit < last || (logit == last && i > last_id)) { best = max(best, logit); }")}
    let next = ${reduceCall(shape, "max", "best")};
    ${forTokens("if (logit == next && (n == 0u || logit < last || i > last_id)) { atomicMin(&lowest, i); }")}
    workgroupBarrier();
    last = next;
    last_id = atomicLoad(&lowest);
    if (index == 0u) {
      logprobs[to + 2u + 2u * n] = last_id;
      logprobs[to + 3u + 2u * n] = bitcast<u32>(last - top - log_sum);
    }
  }
}`,
  });
}
