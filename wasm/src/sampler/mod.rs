//! From logits to a token. The order of the steps, in every build:
//!
//!  1. logprobs and alternatives are taken from the raw logits;
//!  2. repetition penalty, then presence and frequency penalties, then logit bias; what the mask does not allow is −∞;
//!  3. temperature 0 (or below 1e-5): the largest, ties to the lower id, and nothing else happens;
//!  4. weights exp((logit − max) / temperature); min-p, then top-k, then top-p over what is left;
//!  5. one draw from a counter-based generator: the same key and counter give the same draw, whatever else is going on.
//!
//! Nothing is sorted: filters find their threshold with a radix descent (`cutoff.rs`). NaN logits count as −∞.

mod cutoff;
mod logprobs;
mod penalties;
mod philox;

use crate::config::Config;
use crate::kernels;
use crate::memory::{view, view_mut};
use crate::scratch::Scratch;
use crate::step::{MAX_TOP, Output, RESULT_WORDS, Step};

/// Below this a temperature is greedy: 1/t would overflow the exponent of any real difference.
const GREEDY_TEMPERATURE: f32 = 1e-5;
const NO_TOKEN: u32 = u32::MAX;

/// Computes every output of the step into the results region.
///
/// # Safety
/// `Config::check` and `Step::read` have passed, and the logits of the step's rows are in scratch.
pub unsafe fn run(config: &Config, step: &Step, results: usize) {
    let scratch = Scratch::carve(config);
    for (index, output) in (0..step.num_outputs()).filter_map(|index| step.output(index, config)).enumerate() {
        unsafe {
            let logits = view(scratch.logits + output.logits * config.logits_stride() * 4, config.vocab_size);
            let result: &mut [u32] = view_mut(results + index * RESULT_WORDS * 4, RESULT_WORDS);
            let candidates = view_mut(scratch.candidates, config.vocab_size);
            let tokens = view_mut(scratch.tokens, config.vocab_size);
            let counts = view_mut(scratch.counts, config.vocab_size);
            write_result(logits, &output, &mut Workspace { candidates, tokens, counts }, result);
        }
    }
}

/// Room for one row, each of the vocabulary's size.
struct Workspace<'a> {
    /// Adjusted logits, then weights.
    candidates: &'a mut [f32],
    /// Ids of the candidates left.
    tokens: &'a mut [u32],
    /// Occurrences of each token; zero between uses.
    counts: &'a mut [u32],
}

fn write_result(logits: &[f32], output: &Output, workspace: &mut Workspace, result: &mut [u32]) {
    result.fill(0);
    result[0] = if output.sample { sample(logits, output, workspace) } else { NO_TOKEN };
    if !output.wants_logprobs {
        return;
    }
    let log_softmax = logprobs::LogSoftmax::new(logits);
    let scored = output.score.unwrap_or(result[0]);
    if scored != NO_TOKEN {
        result[1] = log_softmax.of(logits[scored as usize]).to_bits();
    }
    let mut top = [(0u32, 0.0f32); MAX_TOP];
    let found = logprobs::largest(logits, &mut top[..output.num_top]);
    result[2] = found as u32;
    for (i, &(token, logit)) in top[..found].iter().enumerate() {
        result[4 + 2 * i] = token;
        result[5 + 2 * i] = log_softmax.of(logit).to_bits();
    }
}

fn sample(logits: &[f32], output: &Output, workspace: &mut Workspace) -> u32 {
    let is_greedy = output.temperature < GREEDY_TEMPERATURE;
    if is_greedy && output.mask.is_empty() && !penalties::any(output) {
        return argmax(logits, kernels::max(logits));
    }
    let Workspace { candidates, tokens, counts } = workspace;
    candidates.copy_from_slice(logits);
    penalties::apply(output, candidates, counts);
    strike(output.mask, candidates);
    let max = kernels::max(candidates);
    if max == f32::NEG_INFINITY {
        return first_allowed(output.mask);
    }
    if is_greedy || !max.is_finite() {
        return argmax(candidates, max);
    }
    let total = kernels::softmax_weights(candidates, max, 1.0 / output.temperature);
    let len = cutoff::keep_likely(output, candidates, total, tokens);
    tokens[draw(&candidates[..len], philox::uniform(output.rng_key, output.rng_counter))]
}

/// What `mask` does not have becomes −∞. Apart, or the compiler writes the loop out.
#[inline(never)]
fn strike(mask: &[u32], candidates: &mut [f32]) {
    for (token, logit) in candidates.iter_mut().enumerate() {
        if mask.get(token >> 5).is_some_and(|word| word >> (token & 31) & 1 == 0) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Of tokens that all are at −∞.
fn first_allowed(mask: &[u32]) -> u32 {
    mask.iter().position(|&word| word != 0).map_or(0, |at| at as u32 * 32 + mask[at].trailing_zeros())
}

/// The lowest id among the largest; 0 when there is none but NaN.
fn argmax(logits: &[f32], max: f32) -> u32 {
    logits.iter().position(|&logit| logit == max).unwrap_or(0) as u32
}

/// The index at `uniform` (0 ≤ uniform < 1) of the distribution that `weights` are proportional to.
fn draw(weights: &[f32], uniform: f64) -> usize {
    let total: f64 = weights.iter().map(|&weight| weight as f64).sum();
    let target = uniform * total;
    let mut sum = 0.0f64;
    let mut last = 0;
    for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        sum += weight as f64;
        last = index;
        if sum > target {
            break;
        }
    }
    last
}
