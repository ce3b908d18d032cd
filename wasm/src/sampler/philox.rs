//! Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
//! (SC 2011). No state: a draw is a function of its key and counter.

const MULTIPLIER: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const NUM_ROUNDS: usize = 10;

pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..NUM_ROUNDS {
        let product = [counter[0] as u64 * MULTIPLIER[0] as u64, counter[2] as u64 * MULTIPLIER[1] as u64];
        counter = [
            (product[1] >> 32) as u32 ^ counter[1] ^ key[0],
            product[1] as u32,
            (product[0] >> 32) as u32 ^ counter[3] ^ key[1],
            product[0] as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// A number in [0, 1) with 53 random bits.
pub fn uniform(key: [u32; 2], counter: u32) -> f64 {
    let words = philox([counter, 0, 0, 0], key);
    let bits = (words[0] as u64) << 21 | words[1] as u64 >> 11;
    bits as f64 / (1u64 << 53) as f64
}
