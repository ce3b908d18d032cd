//! Log probabilities of the raw logits, and the most likely tokens.

use crate::kernels;

pub struct LogSoftmax {
    max: f32,
    log_sum: f64,
}

impl LogSoftmax {
    pub fn new(logits: &[f32]) -> LogSoftmax {
        let max = kernels::max(logits);
        LogSoftmax { max, log_sum: libm::log(kernels::sum_exp(logits, max)) }
    }

    /// Log probability of a token with this logit; −∞ for NaN.
    pub fn of(&self, logit: f32) -> f32 {
        if logit.is_nan() || !self.max.is_finite() {
            return f32::NEG_INFINITY;
        }
        (logit as f64 - self.max as f64 - self.log_sum) as f32
    }
}

/// The largest logits with their tokens, most likely first, ties by lower id; returns how many there are. One pass: a
/// token enters only above the smallest one kept.
pub fn largest(logits: &[f32], top: &mut [(u32, f32)]) -> usize {
    let mut found = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit.is_nan() || top.is_empty() || (found == top.len() && logit <= top[found - 1].1) {
            continue;
        }
        let mut at = if found < top.len() { found } else { found - 1 };
        while at > 0 && top[at - 1].1 < logit {
            top[at] = top[at - 1];
            at -= 1;
        }
        top[at] = (token as u32, logit);
        found = (found + 1).min(top.len());
    }
    found
}
