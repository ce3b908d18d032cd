//! GGUF blocks → packed blocks, one block of one row at a time, so that a model streams into place with no second copy.
//! Source of the block layouts: llama.cpp ggml/src/ggml-common.h and dequantize_row_* in ggml-quants.c.

use crate::block_format::{Format, GROUP_ROWS, SUB_ELEMENTS};
use crate::float16::f16_to_f32;

/// Packs `num_blocks` file blocks at `source`, the first of them being block `first_block` of the matrix in file order
/// (row by row), into the packed matrix at `packed`. The blocks of a row come in order, in as many calls as it takes: with
/// the last one the row's scales become what the layout wants.
///
/// # Safety
/// `source` holds `num_blocks` whole blocks, `packed` the whole matrix, and the blocks lie inside it.
pub unsafe fn pack_blocks(
    format: Format,
    cols: usize,
    packed: *mut u8,
    first_block: usize,
    source: *const u8,
    num_blocks: usize,
) {
    let blocks = Blocks { format, cols, packed, first_block, source, num_blocks };
    // One loop for each type: most are a few copies a block, and to choose among them there would cost as much.
    unsafe {
        match format {
            Format::F32 => blocks.each(|at, lane, source| copy::<4>(at.add(lane * 4), source)),
            Format::F16 | Format::BF16 => blocks.each(|at, lane, source| copy::<2>(at.add(lane * 2), source)),
            Format::Q4_0 | Format::IQ4_NL => blocks.each(|at, lane, source| {
                pack_nibbles(at, lane, source.add(2));
                copy::<2>(at.add(64 + lane * 2), source);
            }),
            Format::Q4_1 => blocks.each(|at, lane, source| {
                pack_nibbles(at, lane, source.add(4));
                copy::<2>(at.add(64 + lane * 2), source);
                copy::<2>(at.add(72 + lane * 2), source.add(2));
            }),
            Format::Q5_0 => blocks.each(|at, lane, source| {
                pack_five_bits(at, lane, &five_bits(source.add(6), source.add(2)));
                copy::<2>(at.add(80 + lane * 2), source);
            }),
            Format::Q5_1 => blocks.each(|at, lane, source| {
                pack_five_bits(at, lane, &five_bits(source.add(8), source.add(4)));
                copy::<2>(at.add(80 + lane * 2), source);
                copy::<2>(at.add(88 + lane * 2), source.add(2));
            }),
            Format::Q8_0 => blocks.each(|at, lane, source| {
                for vector in 0..8 {
                    put(at, vector, lane, word(source.add(2), vector));
                }
                (at.add(128 + lane * 4) as *mut i16).write_unaligned(sum_bytes(source.add(2)));
                copy::<2>(at.add(130 + lane * 4), source);
            }),
            Format::Q2_K => blocks.each(|at, lane, source| pack_k2(at, lane, source)),
            Format::Q3_K => blocks.each(|at, lane, source| pack_k3(at, lane, source)),
            Format::Q4_K | Format::Q5_K => blocks.each(|at, lane, source| pack_k4_k5(format, at, lane, source)),
            Format::Q6_K => blocks.each(|at, lane, source| pack_k6(at, lane, source)),
            Format::IQ4_XS => blocks.each(|at, lane, source| pack_iq4_xs(at, lane, source)),
        }
    }
}

/// A run of file blocks and the matrix they go to.
struct Blocks {
    format: Format,
    cols: usize,
    packed: *mut u8,
    first_block: usize,
    source: *const u8,
    num_blocks: usize,
}

impl Blocks {
    /// Calls `pack` with where each block belongs (an element of a dense type, a sub-block of a 32-type, a span of a
    /// 256-type), its row of the group, and itself.
    #[inline(always)]
    unsafe fn each(&self, pack: impl Fn(*mut u8, usize, *const u8)) {
        let (format, layout) = (self.format, self.format.layout());
        let row_blocks = self.cols / format.block_elements();
        let group_bytes = format.group_bytes(self.cols).unwrap_or(0);
        let header_bytes = if layout.is_row { layout.header_bytes } else { 0 };
        let target_bytes = (group_bytes - header_bytes) / row_blocks;
        let source_bytes = format.file_block_bytes();
        let (mut row, mut block) = (self.first_block / row_blocks, self.first_block % row_blocks);
        let (mut source, mut left) = (self.source, self.num_blocks);
        while left > 0 {
            let count = left.min(row_blocks - block);
            unsafe {
                let group = self.packed.add(row / GROUP_ROWS * group_bytes);
                let mut target = group.add(header_bytes + block * target_bytes);
                for _ in 0..count {
                    pack(target, row % GROUP_ROWS, source);
                    target = target.add(target_bytes);
                    source = source.add(source_bytes);
                }
                if block + count == row_blocks {
                    finish_row(format, group, row_blocks, row % GROUP_ROWS);
                }
            }
            left -= count;
            (row, block) = (row + 1, 0);
        }
    }
}

/// Turns the f16 scales (and mins) of a row of a 32-type into integers and their common factor in the header.
unsafe fn finish_row(format: Format, group: *mut u8, num_blocks: usize, lane: usize) {
    let layout = format.layout();
    if !layout.is_row || !format.is_quantized() {
        return;
    }
    let (first, stride) = if format == Format::Q8_0 { (lane * 4 + 2, 16) } else { (lane * 2, 8) };
    unsafe {
        for index in 0..layout.scale_bytes / stride {
            let scales = group.add(layout.sub_offset(0) + layout.quant_bytes + first + index * stride) as *mut u16;
            let factor = integer_scales(scales, layout.sub_bytes(), num_blocks);
            (group as *mut f32).add(index * GROUP_ROWS + lane).write_unaligned(factor);
        }
    }
}

/// Replaces `count` halves, `stride` bytes apart, by integers of which they are multiples: by the returned power of two.
unsafe fn integer_scales(scales: *mut u16, stride: usize, count: usize) -> f32 {
    /// Added to a number below 2^15, it leaves it rounded to even in the low 16 bits.
    const ROUNDING: f32 = 1.5 * (1 << 23) as f32;
    let at = |i: usize| unsafe { scales.byte_add(i * stride) };
    let half = |i: usize| unsafe { at(i).read_unaligned() };
    let largest = f16_to_f32((0..count).fold(0, |largest, i| largest.max(half(i) & 0x7fff)));
    // Exponents of halves are far from the ends of those of floats. A row of zeros has any factor.
    let exponent = (largest.to_bits() >> 23).max(127 - 24);
    let factor = f32::from_bits((exponent - 14) << 23);
    let inverse = f32::from_bits((2 * 127 + 14 - exponent) << 23);
    for i in 0..count {
        let rounded = f16_to_f32(half(i)) * inverse + ROUNDING;
        unsafe { at(i).write_unaligned(rounded.to_bits() as u16) };
    }
    factor
}

/// Quants of a sub-block, four to a word: word v becomes quant vector v.
type Words = [u32; SUB_ELEMENTS / 4];

/// A word with `byte` in every byte.
const fn every(byte: u8) -> u32 {
    u32::from_ne_bytes([byte; 4])
}

unsafe fn word(from: *const u8, index: usize) -> u32 {
    unsafe { (from as *const u32).add(index).read_unaligned() }
}

/// Writes what stored vector `vector` has of row `lane`.
unsafe fn put(target: *mut u8, vector: usize, lane: usize, word: u32) {
    unsafe { (target.add(vector * 16 + lane * 4) as *mut u32).write_unaligned(word) };
}

/// 16 bytes of nibbles (low = elements 0…15, high = 16…31) already are what the packed layout wants.
unsafe fn pack_nibbles(target: *mut u8, lane: usize, nibbles: *const u8) {
    for vector in 0..4 {
        unsafe { put(target, vector, lane, word(nibbles, vector)) };
    }
}

/// The quants of 16 bytes of nibbles and 4 of fifth bits.
unsafe fn five_bits(nibbles: *const u8, fifth: *const u8) -> Words {
    let bits = unsafe { word(fifth, 0) };
    core::array::from_fn(|v| {
        let nibble = unsafe { word(nibbles, v % 4) } >> (4 * (v / 4)) & every(15);
        nibble | bytes_of_bits(bits >> (4 * v) & 15) << 4
    })
}

/// Bits 0 … 3 as bit 0 of bytes 0 … 3.
fn bytes_of_bits(bits: u32) -> u32 {
    bits * 0x0020_4081 & every(1)
}

unsafe fn pack_four_bits(target: *mut u8, lane: usize, q: &Words) {
    for vector in 0..4 {
        unsafe { put(target, vector, lane, q[vector] | q[4 + vector] << 4) };
    }
}

/// See `block_format.rs` for where the bits of the last three vectors go.
unsafe fn pack_five_bits(target: *mut u8, lane: usize, q: &Words) {
    let low = |v: usize| q[v] & every(7);
    let high = |v: usize| q[v] >> 3 & every(3);
    let upper = [low(5), high(5) << 1 | q[7] >> 3 & every(1), low(6), high(6) << 1 | q[7] >> 4 & every(1), low(7)];
    for (vector, upper) in upper.into_iter().enumerate() {
        unsafe { put(target, vector, lane, q[vector] | upper << 5) };
    }
}

/// As `pack_five_bits`, of the last two vectors.
unsafe fn pack_six_bits(target: *mut u8, lane: usize, q: &Words) {
    for vector in 0..6 {
        let upper = q[6 + vector / 3] >> (2 * (vector % 3)) & every(3);
        unsafe { put(target, vector, lane, q[vector] | upper << 6) };
    }
}

/// Bit pairs number `quarter` of 32 bytes; in the packed byte that of element i goes to bits 2·(i / 4 mod 4).
unsafe fn pack_pairs(target: *mut u8, lane: usize, source: *const u8, quarter: usize) {
    for part in 0..2 {
        let pairs = |c: usize| unsafe { word(source, part * 4 + c) } >> (2 * quarter) & every(3);
        unsafe { put(target, part, lane, (0..4).fold(0, |packed, c| packed | pairs(c) << (2 * c))) };
    }
}

/// Σ of 32 signed bytes.
#[cfg(not(target_feature = "simd128"))]
unsafe fn sum_bytes(from: *const u8) -> i16 {
    (0..32).map(|i| unsafe { *from.add(i) as i8 as i16 }).sum()
}

#[cfg(target_feature = "simd128")]
unsafe fn sum_bytes(from: *const u8) -> i16 {
    use core::arch::wasm32::*;
    let pairs = |half: usize| i16x8_extadd_pairwise_i8x16(unsafe { v128_load((from as *const v128).add(half)) });
    let sums = i32x4_extadd_pairwise_i16x8(i16x8_add(pairs(0), pairs(1)));
    let sums = i32x4_add(sums, i32x4_shuffle::<2, 3, 0, 1>(sums, sums));
    (i32x4_extract_lane::<0>(sums) + i32x4_extract_lane::<1>(sums)) as i16
}

/// Q2_K: 16 B of scale (low nibble) and min (high) of 16 elements each, 64 B of bit pairs, f16 d, f16 dmin. Within each
/// 128 elements, bit pair byte i mod 32 holds those of i, 32 + i, 64 + i, 96 + i.
unsafe fn pack_k2(target: *mut u8, lane: usize, source: *const u8) {
    let layout = Format::Q2_K.layout();
    unsafe {
        copy::<2>(target.add(lane * 2), source.add(80));
        copy::<2>(target.add(8 + lane * 2), source.add(82));
        for sub in 0..8 {
            let at = target.add(layout.sub_offset(sub));
            pack_pairs(at, lane, source.add(16 + sub / 4 * 32), sub % 4);
            *at.add(layout.quant_bytes + lane) = *source.add(sub * 2);
            *at.add(layout.quant_bytes + GROUP_ROWS + lane) = *source.add(sub * 2 + 1);
        }
    }
}

/// Q3_K: 32 B of third bits (bit s of byte i: element i of sub-block s), 64 B of bit pairs as in Q2_K, 12 B of 6-bit
/// scales + 32 of 16 elements each, f16 d. Byte j < 8 of the scales holds the low nibbles of scales j and 8 + j, byte
/// 8 + j the upper bit pairs of scales j, 4 + j, 8 + j and 12 + j.
unsafe fn pack_k3(target: *mut u8, lane: usize, source: *const u8) {
    let layout = Format::Q3_K.layout();
    unsafe {
        copy::<2>(target.add(lane * 2), source.add(108));
        for sub in 0..8 {
            let at = target.add(layout.sub_offset(sub));
            pack_pairs(at, lane, source.add(32 + sub / 4 * 32), sub % 4);
            put(at, 2, lane, (0..8).fold(0, |bits, v| bits | (word(source, v) >> sub & every(1)) << v));
            for half in 0..2 {
                let j = sub * 2 + half;
                let low = *source.add(96 + j % 8) >> (4 * (j / 8)) & 15;
                let high = *source.add(104 + j % 4) >> (2 * (j / 4)) & 3;
                let scale = (low | high << 4).wrapping_sub(32);
                *at.add(layout.quant_bytes + half * GROUP_ROWS + lane) = scale;
            }
        }
    }
}

/// IQ4_XS: f16 d, u16 upper bit pairs and 4 B low nibbles of 6-bit scales (+ 32), 128 B of nibbles, 16 a sub-block.
unsafe fn pack_iq4_xs(target: *mut u8, lane: usize, source: *const u8) {
    let layout = Format::IQ4_XS.layout();
    unsafe {
        copy::<2>(target.add(lane * 2), source);
        for sub in 0..8 {
            let at = target.add(layout.sub_offset(sub));
            pack_nibbles(at, lane, source.add(8 + sub * 16));
            let low = *source.add(4 + sub / 2) >> (4 * (sub % 2)) & 15;
            let high = *source.add(2 + sub / 4) >> (2 * (sub % 4)) & 3;
            *at.add(layout.quant_bytes + lane) = (low | high << 4).wrapping_sub(32);
        }
    }
}

/// Q4_K: f16 d, f16 dmin, 12 B of 6-bit scales and mins, 128 B of nibbles. Q5_K has 32 B of fifth bits before those.
unsafe fn pack_k4_k5(format: Format, target: *mut u8, lane: usize, source: *const u8) {
    let layout = format.layout();
    unsafe {
        copy::<2>(target.add(lane * 2), source);
        copy::<2>(target.add(8 + lane * 2), source.add(2));
        let scales = source.add(4);
        let fifth = source.add(16);
        let nibbles = if format == Format::Q5_K { source.add(48) } else { fifth };
        for sub in 0..8 {
            let at = target.add(layout.sub_offset(sub));
            let low = |v: usize| word(nibbles.add(sub / 2 * 32), v) >> (4 * (sub % 2)) & every(15);
            if format == Format::Q5_K {
                let high = |v: usize| (word(fifth, v) >> sub & every(1)) << 4;
                pack_five_bits(at, lane, &core::array::from_fn(|v| low(v) | high(v)));
            } else {
                pack_four_bits(at, lane, &core::array::from_fn(low));
            }
            let (scale, min) = scale_and_min(scales, sub);
            *at.add(layout.quant_bytes + lane) = scale;
            *at.add(layout.quant_bytes + GROUP_ROWS + lane) = min;
        }
    }
}

/// The 6-bit scale and min of sub-block `sub` (get_scale_min_k4 in ggml).
unsafe fn scale_and_min(packed: *const u8, sub: usize) -> (u8, u8) {
    let byte = |i: usize| unsafe { *packed.add(i) };
    if sub < 4 {
        (byte(sub) & 63, byte(sub + 4) & 63)
    } else {
        ((byte(sub + 4) & 15) | (byte(sub - 4) >> 6 << 4), (byte(sub + 4) >> 4) | (byte(sub) >> 6 << 4))
    }
}

/// Q6_K: 128 B low nibbles, 64 B upper bit pairs, 16 i8 scales of 16 elements, f16 d. Within each 128 elements, nibble
/// byte i holds elements i (low) and 64 + i (high), and bit pair byte i mod 32 those of i, 32 + i, 64 + i, 96 + i.
unsafe fn pack_k6(target: *mut u8, lane: usize, source: *const u8) {
    let layout = Format::Q6_K.layout();
    unsafe {
        copy::<2>(target.add(lane * 2), source.add(208));
        for sub in 0..8 {
            let at = target.add(layout.sub_offset(sub));
            let (half, quarter) = (sub / 4, sub % 4);
            let quants = core::array::from_fn(|v| {
                let low = word(source.add(half * 64 + quarter % 2 * 32), v) >> (4 * (quarter / 2)) & every(15);
                low | (word(source.add(128 + half * 32), v) >> (2 * quarter) & every(3)) << 4
            });
            pack_six_bits(at, lane, &quants);
            let scales = at.add(layout.quant_bytes);
            *scales.add(lane) = *source.add(192 + sub * 2);
            *scales.add(GROUP_ROWS + lane) = *source.add(192 + sub * 2 + 1);
        }
    }
}

unsafe fn copy<const N: usize>(target: *mut u8, source: *const u8) {
    unsafe { (target as *mut [u8; N]).write_unaligned((source as *const [u8; N]).read_unaligned()) };
}
