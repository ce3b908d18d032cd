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
    let row_blocks = cols / format.block_elements();
    let group_bytes = format.group_bytes(cols).unwrap_or(0);
    let (mut row, mut block) = (first_block / row_blocks, first_block % row_blocks);
    for i in 0..num_blocks {
        unsafe {
            let group = packed.add(row / GROUP_ROWS * group_bytes);
            pack_block(format, group, cols, block, row % GROUP_ROWS, source.add(i * format.file_block_bytes()));
            block += 1;
            if block == row_blocks {
                finish_row(format, group, row_blocks, row % GROUP_ROWS);
                block = 0;
                row += 1;
            }
        }
    }
}

/// Block `block` of row `lane` of a group.
unsafe fn pack_block(format: Format, group: *mut u8, cols: usize, block: usize, lane: usize, source: *const u8) {
    let element = block * GROUP_ROWS + lane;
    match format {
        Format::F32 => return unsafe { copy::<4>(group.add(element * 4), source) },
        Format::F16 | Format::BF16 => return unsafe { copy::<2>(group.add(element * 2), source) },
        _ => (),
    }
    let layout = format.layout();
    unsafe {
        let (span, at) = layout.offsets(block * format.block_elements() / SUB_ELEMENTS, cols);
        let (span, at) = (group.add(span), group.add(at));
        let scales = at.add(layout.quant_bytes);
        match format {
            Format::Q4_0 | Format::IQ4_NL => {
                pack_nibbles(at, lane, source.add(2));
                copy::<2>(scales.add(lane * 2), source);
            }
            Format::Q4_1 => {
                pack_nibbles(at, lane, source.add(4));
                copy::<2>(scales.add(lane * 2), source);
                copy::<2>(scales.add(8 + lane * 2), source.add(2));
            }
            Format::Q5_0 => {
                pack_five_bits(at, lane, &five_bits(source.add(6), source.add(2)));
                copy::<2>(scales.add(lane * 2), source);
            }
            Format::Q5_1 => {
                pack_five_bits(at, lane, &five_bits(source.add(8), source.add(4)));
                copy::<2>(scales.add(lane * 2), source);
                copy::<2>(scales.add(8 + lane * 2), source.add(2));
            }
            Format::Q8_0 => {
                let mut sum = 0i16;
                for vector in 0..8 {
                    copy::<4>(at.add(vector * 16 + lane * 4), source.add(2 + vector * 4));
                    sum += (0..4).map(|k| *source.add(2 + vector * 4 + k) as i8 as i16).sum::<i16>();
                }
                copy::<2>(scales.add(lane * 4), &raw const sum as *const u8);
                copy::<2>(scales.add(lane * 4 + 2), source);
            }
            Format::Q2_K => pack_k2(span, lane, source),
            Format::Q3_K => pack_k3(span, lane, source),
            Format::Q6_K => pack_k6(span, lane, source),
            Format::IQ4_XS => pack_iq4_xs(span, lane, source),
            _ => pack_k4_k5(format, span, lane, source),
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
    let at = |i: usize| unsafe { scales.byte_add(i * stride) };
    let value = |i: usize| f16_to_f32(unsafe { at(i).read_unaligned() });
    let largest = (0..count).fold(0f32, |largest, i| largest.max(value(i).abs()));
    // Exponents of halves are far from the ends of those of floats. A row of zeros has any factor.
    let exponent = (largest.to_bits() >> 23).max(127 - 24);
    let factor = f32::from_bits((exponent - 14) << 23);
    let inverse = f32::from_bits((2 * 127 + 14 - exponent) << 23);
    for i in 0..count {
        unsafe { at(i).write_unaligned(libm::rintf(value(i) * inverse) as i16 as u16) };
    }
    factor
}

/// 16 bytes of nibbles (low = elements 0…15, high = 16…31) already are what the packed layout wants, 4 bytes a vector.
unsafe fn pack_nibbles(target: *mut u8, lane: usize, nibbles: *const u8) {
    for vector in 0..4 {
        unsafe { copy::<4>(target.add(vector * 16 + lane * 4), nibbles.add(vector * 4)) };
    }
}

/// The quants of 16 bytes of nibbles and 4 of fifth bits.
unsafe fn five_bits(nibbles: *const u8, fifth: *const u8) -> [u8; SUB_ELEMENTS] {
    let bits = unsafe { (fifth as *const u32).read_unaligned() };
    core::array::from_fn(|i| {
        let nibble = unsafe { *nibbles.add(i % 16) } >> (4 * (i / 16)) & 15;
        nibble | (bits >> i & 1) as u8 * 16
    })
}

/// See `block_format.rs` for where the bits of the last three vectors go.
unsafe fn pack_five_bits(target: *mut u8, lane: usize, quants: &[u8; SUB_ELEMENTS]) {
    for k in 0..4 {
        let quant = |vector: usize| quants[vector * 4 + k];
        let (q5, q6, q7) = (quant(5), quant(6), quant(7));
        let upper = [q5 & 7, q5 >> 3 << 1 | q7 >> 3 & 1, q6 & 7, q6 >> 3 << 1 | q7 >> 4, q7 & 7];
        for (vector, upper) in upper.into_iter().enumerate() {
            unsafe { *target.add(vector * 16 + lane * 4 + k) = quant(vector) | upper << 5 };
        }
    }
}

/// As `pack_five_bits`, of the last two vectors.
unsafe fn pack_six_bits(target: *mut u8, lane: usize, quants: &[u8; SUB_ELEMENTS]) {
    for k in 0..4 {
        for vector in 0..6 {
            let upper = quants[(6 + vector / 3) * 4 + k] >> (2 * (vector % 3)) & 3;
            unsafe { *target.add(vector * 16 + lane * 4 + k) = quants[vector * 4 + k] | upper << 6 };
        }
    }
}

/// Bit i of `bits` is that of element i; in the packed byte it goes to bit i / 4.
unsafe fn pack_single_bits(target: *mut u8, lane: usize, bits: u32) {
    for byte in 0..4 {
        let mut packed = 0u8;
        for vector in 0..8 {
            packed |= ((bits >> (vector * 4 + byte) & 1) as u8) << vector;
        }
        unsafe { *target.add(lane * 4 + byte) = packed };
    }
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
            let bits = (0..SUB_ELEMENTS).fold(0, |bits, i| bits | ((*source.add(i) >> sub & 1) as u32) << i);
            pack_single_bits(at.add(32), lane, bits);
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
            let mut quants: [u8; SUB_ELEMENTS] =
                core::array::from_fn(|i| *nibbles.add(sub / 2 * 32 + i) >> (4 * (sub % 2)) & 15);
            if format == Format::Q5_K {
                for (i, quant) in quants.iter_mut().enumerate() {
                    *quant |= (*fifth.add(i) >> sub & 1) << 4;
                }
                pack_five_bits(at, lane, &quants);
            } else {
                pack_four_bits(at, lane, &quants);
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
            let quants = core::array::from_fn(|i| {
                let low = *source.add(half * 64 + quarter % 2 * 32 + i) >> (4 * (quarter / 2)) & 15;
                low | (*source.add(128 + half * 32 + i) >> (2 * quarter) & 3) << 4
            });
            pack_six_bits(at, lane, &quants);
            let scales = at.add(layout.quant_bytes);
            *scales.add(lane) = *source.add(192 + sub * 2);
            *scales.add(GROUP_ROWS + lane) = *source.add(192 + sub * 2 + 1);
        }
    }
}

unsafe fn pack_four_bits(target: *mut u8, lane: usize, quants: &[u8; SUB_ELEMENTS]) {
    for i in 0..16 {
        unsafe { *target.add(i / 4 * 16 + lane * 4 + i % 4) = quants[i] | quants[16 + i] << 4 };
    }
}

/// Bit pairs number `quarter` of 32 bytes; in the packed byte that of element i goes to bits 2·(i / 4 mod 4).
unsafe fn pack_pairs(target: *mut u8, lane: usize, source: *const u8, quarter: usize) {
    for part in 0..2 {
        for byte in 0..4 {
            let pair = |c: usize| unsafe { *source.add((part * 4 + c) * 4 + byte) } >> (2 * quarter) & 3;
            let packed = (0..4).fold(0, |packed, c| packed | pair(c) << (2 * c));
            unsafe { *target.add(part * 16 + lane * 4 + byte) = packed };
        }
    }
}

unsafe fn copy<const N: usize>(target: *mut u8, source: *const u8) {
    unsafe { (target as *mut [u8; N]).write_unaligned((source as *const [u8; N]).read_unaligned()) };
}
