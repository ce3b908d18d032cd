//! A packed weight matrix and the plain reading of its elements: the definition every kernel is measured against, and
//! the way an embedding row is looked up.

use crate::block_format::{Format, GROUP_ROWS, IQ4_CODEBOOK, SUB_ELEMENTS};
use crate::float16::{bf16_to_f32, f16_to_f32};

#[derive(Clone, Copy)]
pub struct Matrix {
    pub format: Format,
    /// Output elements.
    pub rows: usize,
    /// Input elements.
    pub cols: usize,
    pub data: *const u8,
}

/// 32 elements of one row: element i is `scale[i / 16] · (quants[i] − offset) + min[i / 16]`.
pub struct SubBlock {
    pub quants: [i32; SUB_ELEMENTS],
    pub scale: [f32; 2],
    pub offset: i32,
    pub min: [f32; 2],
}

impl Matrix {
    pub fn group_bytes(&self) -> usize {
        self.format.group_bytes(self.cols).unwrap_or(0)
    }

    /// One element of a dense matrix.
    ///
    /// # Safety
    /// `data` holds the packed matrix, `row` and `k` are inside it, the format is dense.
    pub unsafe fn dense(&self, row: usize, k: usize) -> f32 {
        let index = (row / GROUP_ROWS * self.cols + k) * GROUP_ROWS + row % GROUP_ROWS;
        unsafe {
            match self.format {
                Format::F32 => (self.data as *const f32).add(index).read_unaligned(),
                Format::F16 => f16_to_f32((self.data as *const u16).add(index).read_unaligned()),
                _ => bf16_to_f32((self.data as *const u16).add(index).read_unaligned()),
            }
        }
    }

    /// Sub-block `sub` (elements 32·sub …) of `row` of a quantised matrix.
    ///
    /// # Safety
    /// As `dense`, for a quantised format.
    pub unsafe fn sub_block(&self, row: usize, sub: usize) -> SubBlock {
        let layout = self.format.layout();
        let lane = row % GROUP_ROWS;
        unsafe {
            let group = self.data.add(row / GROUP_ROWS * self.group_bytes());
            let (span, at) = layout.offsets(sub, self.cols);
            let (header, at) = (group.add(span), group.add(at));
            let stored = |vector: usize, k: usize| *at.add(vector * 16 + lane * 4 + k) as i32;
            let mut quants = [0i32; SUB_ELEMENTS];
            for (i, quant) in quants.iter_mut().enumerate() {
                let (vector, k) = (i / 4, i % 4);
                let nibble = stored(vector % 4, k) >> (4 * (vector / 4)) & 15;
                let pair = stored(vector / 4, k) >> (2 * (vector % 4)) & 3;
                // Bits `from` and up of stored vector v, `count` of them.
                let bits = |v: usize, from: i32, count: i32| stored(v, k) >> from & ((1 << count) - 1);
                *quant = match self.format {
                    Format::Q8_0 => stored(vector, k) as i8 as i32,
                    Format::IQ4_NL | Format::IQ4_XS => IQ4_CODEBOOK[nibble as usize] as i32,
                    Format::Q2_K => pair,
                    Format::Q3_K => pair | bits(2, vector as i32, 1) << 2,
                    Format::Q5_0 | Format::Q5_1 | Format::Q5_K => match vector {
                        5 => bits(0, 5, 3) | bits(1, 6, 2) << 3,
                        6 => bits(2, 5, 3) | bits(3, 6, 2) << 3,
                        7 => bits(4, 5, 3) | bits(1, 5, 1) << 3 | bits(3, 5, 1) << 4,
                        _ => bits(vector, 0, 5),
                    },
                    Format::Q6_K => match vector {
                        6 | 7 => (0..3).map(|i| bits((vector - 6) * 3 + i, 6, 2) << (2 * i)).sum(),
                        _ => bits(vector, 0, 6),
                    },
                    _ => nibble,
                };
            }
            let scales = at.add(layout.quant_bytes);
            let byte = |index: usize| *scales.add(index);
            let word = |index: usize| (scales as *const i16).add(index).read_unaligned() as f32;
            let half = |index: usize| f16_to_f32((header as *const u16).add(index).read_unaligned());
            let factor = |index: usize| (header as *const f32).add(index).read_unaligned();
            let (scale, offset, min) = match self.format {
                Format::Q4_0 => ([factor(lane) * word(lane); 2], 8, [0.0; 2]),
                Format::Q5_0 => ([factor(lane) * word(lane); 2], 16, [0.0; 2]),
                Format::Q8_0 => ([factor(lane) * word(2 * lane + 1); 2], 0, [0.0; 2]),
                Format::Q4_1 | Format::Q5_1 => {
                    let min = factor(GROUP_ROWS + lane) * word(GROUP_ROWS + lane);
                    ([factor(lane) * word(lane); 2], 0, [min; 2])
                }
                Format::Q4_K | Format::Q5_K => {
                    let min = half(GROUP_ROWS + lane) * byte(GROUP_ROWS + lane) as f32;
                    ([half(lane) * byte(lane) as f32; 2], 0, [-min; 2])
                }
                Format::Q2_K => {
                    let (d, dmin) = (half(lane), half(GROUP_ROWS + lane));
                    let nibbles = [byte(lane), byte(GROUP_ROWS + lane)];
                    (nibbles.map(|n| d * (n & 15) as f32), 0, nibbles.map(|n| -dmin * (n >> 4) as f32))
                }
                Format::Q3_K | Format::Q6_K => {
                    let offset = if self.format == Format::Q3_K { 4 } else { 32 };
                    ([lane, GROUP_ROWS + lane].map(|index| half(lane) * byte(index) as i8 as f32), offset, [0.0; 2])
                }
                Format::IQ4_XS => ([half(lane) * byte(lane) as i8 as f32; 2], 0, [0.0; 2]),
                _ => ([factor(lane) * word(lane); 2], 0, [0.0; 2]),
            };
            SubBlock { quants, scale, offset, min }
        }
    }

    /// Expands one row to f32.
    ///
    /// # Safety
    /// `data` holds the packed matrix and `row` is inside it; `out` has `cols` elements.
    pub unsafe fn read_row(&self, row: usize, out: &mut [f32]) {
        unsafe {
            if !self.format.is_quantized() {
                for (k, value) in out.iter_mut().enumerate() {
                    *value = self.dense(row, k);
                }
                return;
            }
            for (sub, values) in out.chunks_exact_mut(SUB_ELEMENTS).enumerate() {
                let block = self.sub_block(row, sub);
                for (i, value) in values.iter_mut().enumerate() {
                    *value = block.scale[i / 16] * (block.quants[i] - block.offset) as f32 + block.min[i / 16];
                }
            }
        }
    }
}
