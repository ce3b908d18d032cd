//! Weight types and their packed layouts.
//!
//! Packed matrices are cut into groups of 4 rows. Within a group, a block holds for 4 rows what a GGUF block holds for
//! one, with quants interleaved so that a 16-byte vector carries 4 consecutive k of each of the 4 rows:
//!
//! ```text
//! byte  0   1   2   3 | 4   5   6   7 | 8 … 11 | 12 … 15
//!      r0k0 r0k1 r0k2 r0k3 r1k0 r1k1 …  row 2    row 3         k0 = 4·(index of the vector)
//! ```
//!
//! A quantised block is [header][sub-block]…, one sub-block for each 32 elements (1 for the 32-types, 8 for the 256-types):
//!
//! | part      | bytes     | content                                                                                  |
//! |-----------|-----------|------------------------------------------------------------------------------------------|
//! | header    | 0/8/16    | 256-types: f16 d of rows 0…3, then (Q2_K, Q4_K, Q5_K) f16 dmin of rows 0…3               |
//! | low bits  | 32/64/128 | 4 bits: vector j, low nibble: quant vector j; high nibble: quant vector j+4.             |
//! |           |           | 2 bits (Q2_K, Q3_K): vector g/4, bits 2·(g mod 4): quant vector g. Q8_0: 8 whole vectors |
//! | high bits | 0/16/32   | 1 bit (Q3_K, 5-bit): bit g of each byte belongs to vector g. 2 bits (Q6_K): as low ones  |
//! | scales    | 4/8/16    | 32-types: f16 d (and m) of rows 0…3. Q4_K, Q5_K: u8 scale, u8 min. IQ4_XS: i8 scale.     |
//! |           |           | Q3_K, Q6_K: i8 scale of each half. Q2_K: nibbles, low scale and high min, of each half   |
//!
//! Dense types have 1-element blocks: 4 rows of one k. Rows beyond the matrix are zero. Packing changes no value: every
//! type keeps the scales of the file bit for bit. Those whose 6-bit scales become bytes grow: Q3_K by 3.6 %, Q4_K by 2.8,
//! Q5_K by 2.3, IQ4_XS by 1.5.
//!
//! Source of the GGUF layouts: llama.cpp ggml/src/ggml-common.h; see `pack.rs`.

/// Rows of a group, the lanes of a vector.
pub const GROUP_ROWS: usize = 4;
/// Elements of a sub-block: the unit of activation scales.
pub const SUB_ELEMENTS: usize = 32;

/// What the nibbles of IQ4_NL and IQ4_XS stand for (kvalues_iq4nl in ggml-common.h).
pub const IQ4_CODEBOOK: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The ids are those of GGUF (ggml_type).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(non_camel_case_types)]
pub enum Format {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20,
    IQ4_XS = 23,
    BF16 = 30,
}

/// Sizes of one packed quantised block of 4 rows.
#[derive(Clone, Copy)]
pub struct BlockLayout {
    pub header_bytes: usize,
    pub low_bytes: usize,
    pub high_bytes: usize,
    pub scale_bytes: usize,
    pub num_subs: usize,
}

impl BlockLayout {
    pub const fn sub_bytes(&self) -> usize {
        self.low_bytes + self.high_bytes + self.scale_bytes
    }
    /// Of sub-block `index` within its block.
    pub const fn sub_offset(&self, index: usize) -> usize {
        self.header_bytes + index * self.sub_bytes()
    }
    pub const fn block_bytes(&self) -> usize {
        self.header_bytes + self.num_subs * self.sub_bytes()
    }
}

const fn layout(header: usize, low: usize, high: usize, scale: usize, num_subs: usize) -> BlockLayout {
    BlockLayout { header_bytes: header, low_bytes: low, high_bytes: high, scale_bytes: scale, num_subs }
}

impl Format {
    pub fn from_id(id: u32) -> Option<Format> {
        Some(match id {
            0 => Format::F32,
            1 => Format::F16,
            2 => Format::Q4_0,
            3 => Format::Q4_1,
            6 => Format::Q5_0,
            7 => Format::Q5_1,
            8 => Format::Q8_0,
            10 => Format::Q2_K,
            11 => Format::Q3_K,
            12 => Format::Q4_K,
            13 => Format::Q5_K,
            14 => Format::Q6_K,
            20 => Format::IQ4_NL,
            23 => Format::IQ4_XS,
            30 => Format::BF16,
            _ => return None,
        })
    }

    pub const fn is_quantized(self) -> bool {
        !matches!(self, Format::F32 | Format::F16 | Format::BF16)
    }

    /// Layout of a packed block; for a dense type the whole block is its `header`.
    pub const fn layout(self) -> BlockLayout {
        match self {
            Format::F32 => layout(4 * GROUP_ROWS, 0, 0, 0, 0),
            Format::F16 | Format::BF16 => layout(2 * GROUP_ROWS, 0, 0, 0, 0),
            Format::Q4_0 | Format::IQ4_NL => layout(0, 64, 0, 8, 1),
            Format::Q4_1 => layout(0, 64, 0, 16, 1),
            Format::Q5_0 => layout(0, 64, 16, 8, 1),
            Format::Q5_1 => layout(0, 64, 16, 16, 1),
            Format::Q8_0 => layout(0, 128, 0, 8, 1),
            Format::Q2_K => layout(16, 32, 0, 8, 8),
            Format::Q3_K => layout(8, 32, 16, 8, 8),
            Format::Q4_K => layout(16, 64, 0, 8, 8),
            Format::Q5_K => layout(16, 64, 16, 8, 8),
            Format::Q6_K => layout(8, 64, 32, 8, 8),
            Format::IQ4_XS => layout(8, 64, 0, 4, 8),
        }
    }

    /// Elements of a row that one block holds.
    pub const fn block_elements(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => 1,
            _ => SUB_ELEMENTS * self.layout().num_subs,
        }
    }

    /// Bytes of one block of one row in the file.
    pub const fn file_block_bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::BF16 => 2,
            Format::Q4_0 | Format::IQ4_NL => 18,
            Format::Q4_1 => 20,
            Format::Q5_0 => 22,
            Format::Q5_1 => 24,
            Format::Q8_0 => 34,
            Format::Q2_K => 84,
            Format::Q3_K => 110,
            Format::Q4_K => 144,
            Format::Q5_K => 176,
            Format::Q6_K => 210,
            Format::IQ4_XS => 136,
        }
    }

    /// Bytes of one packed group of 4 rows of `cols` elements; None when a row holds no whole number of blocks.
    pub const fn group_bytes(self, cols: usize) -> Option<usize> {
        if cols % self.block_elements() != 0 {
            return None;
        }
        Some(cols / self.block_elements() * self.layout().block_bytes())
    }

    /// Bytes of a packed [rows, cols] matrix.
    pub const fn packed_bytes(self, rows: usize, cols: usize) -> Option<usize> {
        match self.group_bytes(cols) {
            Some(bytes) => Some(rows.div_ceil(GROUP_ROWS) * bytes),
            None => None,
        }
    }
}
