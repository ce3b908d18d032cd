//! GGUF blocks → packed blocks, one block of one row at a time, so that a model streams into place with no second copy.
//! Source of the block layouts: llama.cpp ggml/src/ggml-common.h and dequantize_row_* in ggml-quants.c.

use crate::block_format::{Format, GROUP_ROWS, SUB_ELEMENTS};

/// Packs `num_blocks` file blocks at `source`, the first of them being block `first_block` of the matrix in file order
/// (row by row), into the packed matrix at `packed`.
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
    let block_bytes = format.layout().block_bytes();
    let (mut row, mut block) = (first_block / row_blocks, first_block % row_blocks);
    for i in 0..num_blocks {
        unsafe {
            let target = packed.add((row / GROUP_ROWS * row_blocks + block) * block_bytes);
            pack_block(format, target, row % GROUP_ROWS, source.add(i * format.file_block_bytes()));
        }
        block += 1;
        if block == row_blocks {
            block = 0;
            row += 1;
        }
    }
}

unsafe fn pack_block(format: Format, target: *mut u8, lane: usize, source: *const u8) {
    unsafe {
        match format {
            Format::F32 => copy::<4>(target.add(lane * 4), source),
            Format::F16 | Format::BF16 => copy::<2>(target.add(lane * 2), source),
            Format::Q4_0 | Format::IQ4_NL => {
                pack_nibbles(target, lane, source.add(2));
                copy::<2>(target.add(64 + lane * 2), source);
            }
            Format::Q4_1 => {
                pack_nibbles(target, lane, source.add(4));
                copy::<2>(target.add(64 + lane * 2), source);
                copy::<2>(target.add(72 + lane * 2), source.add(2));
            }
            Format::Q5_0 => {
                pack_nibbles(target, lane, source.add(6));
                pack_single_bits(target.add(64), lane, (source.add(2) as *const u32).read_unaligned());
                copy::<2>(target.add(80 + lane * 2), source);
            }
            Format::Q5_1 => {
                pack_nibbles(target, lane, source.add(8));
                pack_single_bits(target.add(64), lane, (source.add(4) as *const u32).read_unaligned());
                copy::<2>(target.add(80 + lane * 2), source);
                copy::<2>(target.add(88 + lane * 2), source.add(2));
            }
            Format::Q8_0 => {
                for vector in 0..8 {
                    copy::<4>(target.add(vector * 16 + lane * 4), source.add(2 + vector * 4));
                }
                copy::<2>(target.add(128 + lane * 2), source);
            }
            Format::Q4_K | Format::Q5_K => pack_k4_k5(format, target, lane, source),
            Format::Q2_K => pack_k2(target, lane, source),
            Format::Q3_K => pack_k3(target, lane, source),
            Format::Q6_K => pack_k6(target, lane, source),
            Format::IQ4_XS => pack_iq4_xs(target, lane, source),
        }
    }
}

/// 16 bytes of nibbles (low = elements 0…15, high = 16…31) already are what the packed layout wants, 4 bytes a vector.
unsafe fn pack_nibbles(target: *mut u8, lane: usize, nibbles: *const u8) {
    for vector in 0..4 {
        unsafe { copy::<4>(target.add(vector * 16 + lane * 4), nibbles.add(vector * 4)) };
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
        for sub in 0..layout.num_subs {
            let at = target.add(layout.sub_offset(sub));
            pack_pairs(at, lane, source.add(16 + sub / 4 * 32), sub % 4);
            *at.add(layout.low_bytes + lane) = *source.add(sub * 2);
            *at.add(layout.low_bytes + GROUP_ROWS + lane) = *source.add(sub * 2 + 1);
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
        for sub in 0..layout.num_subs {
            let at = target.add(layout.sub_offset(sub));
            pack_pairs(at, lane, source.add(32 + sub / 4 * 32), sub % 4);
            let bits = (0..SUB_ELEMENTS).fold(0, |bits, i| bits | ((*source.add(i) >> sub & 1) as u32) << i);
            pack_single_bits(at.add(layout.low_bytes), lane, bits);
            for half in 0..2 {
                let j = sub * 2 + half;
                let low = *source.add(96 + j % 8) >> (4 * (j / 8)) & 15;
                let high = *source.add(104 + j % 4) >> (2 * (j / 4)) & 3;
                let scale = (low | high << 4).wrapping_sub(32);
                *at.add(layout.low_bytes + layout.high_bytes + half * GROUP_ROWS + lane) = scale;
            }
        }
    }
}

/// IQ4_XS: f16 d, u16 upper bit pairs and 4 B low nibbles of 6-bit scales (+ 32), 128 B of nibbles, 16 a sub-block.
unsafe fn pack_iq4_xs(target: *mut u8, lane: usize, source: *const u8) {
    let layout = Format::IQ4_XS.layout();
    unsafe {
        copy::<2>(target.add(lane * 2), source);
        for sub in 0..layout.num_subs {
            let at = target.add(layout.sub_offset(sub));
            pack_nibbles(at, lane, source.add(8 + sub * 16));
            let low = *source.add(4 + sub / 2) >> (4 * (sub % 2)) & 15;
            let high = *source.add(2 + sub / 4) >> (2 * (sub % 4)) & 3;
            *at.add(layout.low_bytes + lane) = (low | high << 4).wrapping_sub(32);
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
        for sub in 0..layout.num_subs {
            let at = target.add(layout.sub_offset(sub));
            let mut quants = [0u8; SUB_ELEMENTS];
            let mut bits = 0u32;
            for (i, quant) in quants.iter_mut().enumerate() {
                *quant = *nibbles.add(sub / 2 * 32 + i) >> (4 * (sub % 2)) & 15;
                bits |= ((*fifth.add(i) >> sub & 1) as u32) << i;
            }
            pack_quants(at, lane, &quants);
            if format == Format::Q5_K {
                pack_single_bits(at.add(layout.low_bytes), lane, bits);
            }
            let (scale, min) = scale_and_min(scales, sub);
            *at.add(layout.low_bytes + layout.high_bytes + lane) = scale;
            *at.add(layout.low_bytes + layout.high_bytes + GROUP_ROWS + lane) = min;
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
        for sub in 0..layout.num_subs {
            let at = target.add(layout.sub_offset(sub));
            let (half, quarter) = (sub / 4, sub % 4);
            let mut quants = [0u8; SUB_ELEMENTS];
            for (i, quant) in quants.iter_mut().enumerate() {
                *quant = *source.add(half * 64 + quarter % 2 * 32 + i) >> (4 * (quarter / 2)) & 15;
            }
            pack_quants(at, lane, &quants);
            pack_pairs(at.add(layout.low_bytes), lane, source.add(128 + half * 32), quarter);
            let scales = at.add(layout.low_bytes + layout.high_bytes);
            *scales.add(lane) = *source.add(192 + sub * 2);
            *scales.add(GROUP_ROWS + lane) = *source.add(192 + sub * 2 + 1);
        }
    }
}

/// Low nibbles of 32 quants.
unsafe fn pack_quants(target: *mut u8, lane: usize, quants: &[u8; SUB_ELEMENTS]) {
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
