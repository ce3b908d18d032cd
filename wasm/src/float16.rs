//! IEEE half and bfloat16 conversions. Half values go through one multiplication by 2^112, which is exact for normal and
//! subnormal numbers alike. Inf and NaN, which only a corrupt file holds, read as finite numbers of 2^16 and more: the
//! SIMD kernels do the same, so every kernel set agrees and no NaN enters through a weight.

const TWO_POW_112: f32 = f32::from_bits((112 + 127) << 23);

pub fn f16_to_f32(half: u16) -> f32 {
    let half = half as u32;
    f32::from_bits(((half & 0x8000) << 16) | ((half & 0x7fff) << 13)) * TWO_POW_112
}

pub fn bf16_to_f32(half: u16) -> f32 {
    f32::from_bits((half as u32) << 16)
}

/// Round to nearest even; beyond the range of half it saturates to ±65504, so that a large K or V stays finite.
pub fn f32_to_f16(x: f32) -> u16 {
    const HALF_MAX: u16 = 0x7bff;
    const ROUNDS_OVER_MAX: u32 = 0x477f_f000;
    const SMALLEST_NORMAL: u32 = 0x3880_0000;
    let bits = x.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude >= ROUNDS_OVER_MAX {
        HALF_MAX
    } else if magnitude < SMALLEST_NORMAL {
        // One unit in the last place of 0.5 is 2^-24, the step of subnormal halves: the addition rounds for us.
        ((f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()) as u16
    } else {
        let rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
        ((rounded - 0x3800_0000) >> 13) as u16
    };
    sign | half
}
