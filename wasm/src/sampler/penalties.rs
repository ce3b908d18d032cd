//! Penalties and bias. Repetition: Keskar et al., CTRL, arXiv:1909.05858, section 4.1; presence and frequency: OpenAI API.

use crate::step::Output;

/// Marks a token of the prompt; the low bits count occurrences in the output.
const IN_PROMPT: u32 = 1 << 31;

/// Whether `apply` would change anything.
pub fn any(output: &Output) -> bool {
    penalizes(output) || !output.bias.is_empty()
}

fn penalizes(output: &Output) -> bool {
    output.repetition_penalty != 1.0 || output.presence_penalty != 0.0 || output.frequency_penalty != 0.0
}

/// Adjusts `logits` in place. `counts` is all zero before and after: only the tokens that occur are touched.
pub fn apply(output: &Output, logits: &mut [f32], counts: &mut [u32]) {
    if penalizes(output) {
        if output.repetition_penalty != 1.0 {
            for &token in output.prompt_tokens {
                counts[token as usize] = IN_PROMPT;
            }
        }
        for &token in output.output_tokens {
            counts[token as usize] += 1;
        }
        for &token in output.prompt_tokens.iter().chain(output.output_tokens) {
            let seen = core::mem::take(&mut counts[token as usize]);
            if seen != 0 {
                let logit = &mut logits[token as usize];
                *logit = penalized(*logit, seen & !IN_PROMPT, output);
            }
        }
    }
    for pair in output.bias.chunks_exact(2) {
        logits[pair[0] as usize] += f32::from_bits(pair[1]);
    }
}

fn penalized(logit: f32, num_generated: u32, output: &Output) -> f32 {
    let scaled = if logit > 0.0 { logit / output.repetition_penalty } else { logit * output.repetition_penalty };
    if num_generated == 0 {
        return scaled;
    }
    scaled - output.presence_penalty - output.frequency_penalty * num_generated as f32
}
