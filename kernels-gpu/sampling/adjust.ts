/**
 * Logits → candidates: a copy for each output (a row may be sampled more than once, and log probabilities are of the raw
 * logits), forbidden tokens struck out; then penalties (repetition: Keskar et al. 2019, section 4.1; presence and frequency:
 * OpenAI API) and biases, one thread for each token that they concern.
 * What is not allowed stays below everything that is.
 *
 * v1: two kernels.
 */
import { ceilDiv, defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { FIELD, FLAG, IN_PROMPT, OUTPUT_WORDS } from "./outputs.ts";

const THREADS = 256;
/** Less than any logit, and finite: what is not allowed. */
export const STRUCK = -1e30;
/** The least that a token which may be drawn has, also where its logit is no number. */
const LEAST = STRUCK / 2;

/** `logits`: [row][vocab]. `masks`: bit t of a row's words = token t is allowed. `candidates`: [output][vocab] f32 bits. */
export type CandidatesBinding = "outputs" | "logits" | "masks" | "candidates";

/** Dispatch `candidateWorkgroups`. */
export function candidates(vocabSize: number): Kernel<CandidatesBinding> {
  return defineKernel({
    name: `candidates v1 ${vocabSize}`,
    bindings: {
      outputs: read("array<u32>"),
      logits: read("array<u32>"),
      masks: read("array<u32>"),
      candidates: readWrite("array<u32>"),
    },
    body: /* wgsl */ `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  if (token >= ${vocabSize}u) { return; }
  let output = id.y * ${OUTPUT_WORDS}u;
  let bits = logits[outputs[output + ${FIELD.logitRow}u] * ${vocabSize}u + token];
  let is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  var allowed = true;
  if ((outputs[output + ${FIELD.flags}u] & ${FLAG.hasMask}u) != 0u) {
    let word = masks[outputs[output + ${FIELD.maskStart}u] + token / 32u];
    allowed = ((word >> (token % 32u)) & 1u) == 1u;
  }
  let kept = select(clamp(bitcast<f32>(bits), ${LEAST}, ${-LEAST}), ${LEAST}, is_nan);
  candidates[id.y * ${vocabSize}u + token] = bitcast<u32>(select(${STRUCK}, kept, allowed));
}`,
  });
}

export const candidateWorkgroups = (vocabSize: number, numOutputs: number): [number, number] => [
  ceilDiv(vocabSize, THREADS),
  numOutputs,
];

/** `adjustments`: (output, token, seen, bias) each, `encodeAdjustments`. `counts[0]` = how many there are. */
export type AdjustBinding = "counts" | "outputs" | "adjustments" | "candidates";

/** Dispatch ceil(adjustments / 64). No two adjustments of an output may name the same token. */
export function adjust(vocabSize: number): Kernel<AdjustBinding> {
  return defineKernel({
    name: `adjust v1 ${vocabSize}`,
    bindings: {
      counts: read("array<u32>"),
      outputs: read("array<u32>"),
      adjustments: read("array<vec4<u32>>"),
      candidates: readWrite("array<u32>"),
    },
    body: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= counts[0]) { return; }
  let entry = adjustments[id.x];
  let output = entry.x * ${OUTPUT_WORDS}u;
  let at = entry.x * ${vocabSize}u + entry.y;
  var logit = bitcast<f32>(candidates[at]);
  if (logit <= ${STRUCK}) { return; }
  if (entry.z != 0u) {
    let penalty = bitcast<f32>(outputs[output + ${FIELD.repetitionPenalty}u]);
    if (logit > 0.0) { logit = logit / penalty; } else { logit = logit * penalty; }
    let count = entry.z & ${IN_PROMPT - 1}u;
    if (count != 0u) {
      logit -= bitcast<f32>(outputs[output + ${FIELD.presencePenalty}u]);
      logit -= bitcast<f32>(outputs[output + ${FIELD.frequencyPenalty}u]) * f32(count);
    }
  }
  candidates[at] = bitcast<u32>(clamp(logit + bitcast<f32>(entry.w), ${LEAST}, ${-LEAST}));
}`,
  });
}
