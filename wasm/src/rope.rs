//! Rotary position embedding (Su et al., RoFormer, arXiv:2104.09864). The angles of a position are computed once a step,
//! in f64 from exact frequencies, and shared by every layer and head.

use crate::config::Config;

/// Fills `table` with (cos, sin) of position · frequency times `magnitude`, for each frequency.
pub fn angles(position: usize, frequencies: &[f64], magnitude: f32, table: &mut [f32]) {
    for (&frequency, pair) in frequencies.iter().zip(table.chunks_exact_mut(2)) {
        let (sin, cos) = libm::sincos(position as f64 * frequency);
        pair[0] = cos as f32 * magnitude;
        pair[1] = sin as f32 * magnitude;
    }
}

/// Rotates every head of `heads` ([n · head_dim]) in place.
pub fn rotate(config: &Config, table: &[f32], heads: &mut [f32]) {
    let half = config.rope_dims / 2;
    for head in heads.chunks_exact_mut(config.head_dim) {
        for (i, pair) in table.chunks_exact(2).enumerate() {
            let (a, b) = if config.rope_half_split { (i, i + half) } else { (2 * i, 2 * i + 1) };
            let (x, y) = (head[a], head[b]);
            head[a] = x * pair[0] - y * pair[1];
            head[b] = x * pair[1] + y * pair[0];
        }
    }
}
