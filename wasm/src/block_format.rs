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
//! A group of quantised rows is [span]…, and a span is [header][sub-block]…, one sub-block for each 32 elements. A span of a
//! 256-type is 256 elements, what a GGUF block holds; of a 32-type it is the whole row.
//!
//! | part    | bytes     | content                                                                                    |
//! |---------|-----------|--------------------------------------------------------------------------------------------|
//! | header  | 8/16/32   | factor of the scales of rows 0…3, then (Q4_1, Q5_1, Q2_K, Q4_K, Q5_K) that of their mins:  |
//! |         |           | f16 d and dmin of 256-types; f32 powers of two of 32-types                                 |
//! | quants  | 32 … 128  | 2 bits (Q2_K): vector g/4, bits 2·(g mod 4): quant vector g. 4 bits: vector j, low nibble: |
//! |         |           | quant vector j; high nibble: j+4. 3, 5, 6 and 8 bits: see below                            |
//! | scales  | 4/8/16    | 32-types: i16 scale, then i16 min. Q8_0: i16 sum of the quants and i16 scale of each row   |
//! |         |           | in turn. Q4_K, Q5_K: u8 scale, u8 min. IQ4_XS: i8 scale. Q3_K, Q6_K: i8 scale of each      |
//! |         |           | half. Q2_K: nibbles, low scale and high min, of each half                                  |
//!
//! Q8_0 has its 8 quant vectors as they are. Of 5 and 6 bits, the first 5 and 6 vectors are the low bits of the bytes of as
//! many stored vectors, whose upper bits make up the last 3 and 2:
//!
//! ```text
//! Q5:  q5 = A[7:5] + B[7:6]·8      q6 = C[7:5] + D[7:6]·8      q7 = E[7:5] + B[5]·8 + D[5]·16      (A … E stored)
//! Q6:  q6 = A[7:6] + B[7:6]·4 + C[7:6]·16                      q7 = D[7:6] + E[7:6]·4 + F[7:6]·16
//! Q3:  two stored vectors as 2 bits, then one whose bit g is bit 2 of quant vector g
//! ```
//!
//! Dense types are one element of 4 rows after the other. Rows beyond the matrix are zero. Packing keeps every quant, and
//! the scales of 256-types bit for bit. Those of 32-types become multiples of 2^-14 of the largest power of two in the row's
//! scales, which changes none within 2^4 of the row's largest, and no other by more than 2^-16 of it: an integer scale costs
//! the products one instruction where an f16 one costs five.
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

/// Sizes of the parts of a packed span of 4 rows.
#[derive(Clone, Copy)]
pub struct SpanLayout {
    pub header_bytes: usize,
    pub quant_bytes: usize,
    pub scale_bytes: usize,
    /// Whether a span is a whole row; else it has 256 elements.
    pub is_row: bool,
}

impl SpanLayout {
    /// Sub-blocks of a span, for rows of `cols` elements.
    pub const fn num_subs(&self, cols: usize) -> usize {
        if self.is_row { cols / SUB_ELEMENTS } else { 8 }
    }
    pub const fn sub_bytes(&self) -> usize {
        self.quant_bytes + self.scale_bytes
    }
    /// Of sub-block `index` within its span.
    pub const fn sub_offset(&self, index: usize) -> usize {
        self.header_bytes + index * self.sub_bytes()
    }
    /// Where sub-block `sub` of a row lies in the group: its span and itself.
    pub const fn offsets(&self, sub: usize, cols: usize) -> (usize, usize) {
        let num_subs = self.num_subs(cols);
        let span = sub / num_subs * self.sub_offset(num_subs);
        (span, span + self.sub_offset(sub % num_subs))
    }
}

const fn row_span(header_bytes: usize, quant_bytes: usize, scale_bytes: usize) -> SpanLayout {
    SpanLayout { header_bytes, quant_bytes, scale_bytes, is_row: true }
}

const fn block_span(header_bytes: usize, quant_bytes: usize, scale_bytes: usize) -> SpanLayout {
    SpanLayout { header_bytes, quant_bytes, scale_bytes, is_row: false }
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

    /// Of a quantised type; a dense one has neither quants nor scales.
    pub const fn layout(self) -> SpanLayout {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => row_span(0, 0, 0),
            Format::Q4_0 | Format::IQ4_NL => row_span(16, 64, 8),
            Format::Q4_1 => row_span(32, 64, 16),
            Format::Q5_0 => row_span(16, 80, 8),
            Format::Q5_1 => row_span(32, 80, 16),
            Format::Q8_0 => row_span(16, 128, 16),
            Format::Q2_K => block_span(16, 32, 8),
            Format::Q3_K => block_span(8, 48, 8),
            Format::Q4_K => block_span(16, 64, 8),
            Format::Q5_K => block_span(16, 80, 8),
            Format::Q6_K => block_span(8, 96, 8),
            Format::IQ4_XS => block_span(8, 64, 4),
        }
    }

    /// Elements of a block in the file.
    pub const fn block_elements(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => 1,
            _ if self.layout().is_row => SUB_ELEMENTS,
            _ => 8 * SUB_ELEMENTS,
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
        Some(match self {
            Format::F32 => cols * 4 * GROUP_ROWS,
            Format::F16 | Format::BF16 => cols * 2 * GROUP_ROWS,
            _ => self.layout().offsets(cols / SUB_ELEMENTS, cols).0,
        })
    }

    /// Bytes of a packed [rows, cols] matrix.
    pub const fn packed_bytes(self, rows: usize, cols: usize) -> Option<usize> {
        match self.group_bytes(cols) {
            Some(bytes) => Some(rows.div_ceil(GROUP_ROWS) * bytes),
            None => None,
        }
    }
}
