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
            let block =
                self.data.add(row / GROUP_ROWS * self.group_bytes()).add(sub / layout.num_subs * layout.block_bytes());
            let at = block.add(layout.sub_offset(sub % layout.num_subs));
            let high = at.add(layout.low_bytes);
            let mut quants = [0i32; SUB_ELEMENTS];
            for (i, quant) in quants.iter_mut().enumerate() {
                let (vector, byte) = (i / 4, lane * 4 + i % 4);
                let nibble = || *at.add(vector % 4 * 16 + byte) >> (4 * (vector / 4)) & 15;
                let pair = |from: *const u8| *from.add(vector / 4 * 16 + byte) >> (2 * (vector % 4)) & 3;
                let bit = || *high.add(byte) >> vector & 1;
                *quant = match self.format {
                    Format::Q8_0 => *at.add(vector * 16 + byte) as i8 as i32,
                    Format::IQ4_NL | Format::IQ4_XS => IQ4_CODEBOOK[nibble() as usize] as i32,
                    Format::Q2_K => pair(at) as i32,
                    Format::Q3_K => (pair(at) | bit() << 2) as i32,
                    Format::Q5_0 | Format::Q5_1 | Format::Q5_K => (nibble() | bit() << 4) as i32,
                    Format::Q6_K => (nibble() | pair(high) << 4) as i32,
                    _ => nibble() as i32,
                };
            }
            let scales = high.add(layout.high_bytes);
            let half = |from: *const u8, index: usize| f16_to_f32((from as *const u16).add(index).read_unaligned());
            let signed = |index: usize| *scales.add(index) as i8 as f32;
            let (scale, offset, min) = match self.format {
                Format::Q4_0 => ([half(scales, lane); 2], 8, [0.0; 2]),
                Format::Q5_0 => ([half(scales, lane); 2], 16, [0.0; 2]),
                Format::Q4_1 | Format::Q5_1 => ([half(scales, lane); 2], 0, [half(scales, GROUP_ROWS + lane); 2]),
                Format::Q4_K | Format::Q5_K => {
                    let scale = half(block, lane) * *scales.add(lane) as f32;
                    let min = half(block, GROUP_ROWS + lane) * *scales.add(GROUP_ROWS + lane) as f32;
                    ([scale; 2], 0, [-min; 2])
                }
                Format::Q2_K => {
                    let (d, dmin) = (half(block, lane), half(block, GROUP_ROWS + lane));
                    let nibbles = [*scales.add(lane), *scales.add(GROUP_ROWS + lane)];
                    (nibbles.map(|n| d * (n & 15) as f32), 0, nibbles.map(|n| -dmin * (n >> 4) as f32))
                }
                Format::Q3_K | Format::Q6_K => {
                    let d = half(block, lane);
                    let offset = if self.format == Format::Q3_K { 4 } else { 32 };
                    ([d * signed(lane), d * signed(GROUP_ROWS + lane)], offset, [0.0; 2])
                }
                Format::IQ4_XS => ([half(block, lane) * signed(lane); 2], 0, [0.0; 2]),
                _ => ([half(scales, lane); 2], 0, [0.0; 2]),
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
