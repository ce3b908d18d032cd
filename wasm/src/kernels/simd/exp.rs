//! The exponential function of four lanes.

use super::lanes::multiply_add;
use core::arch::wasm32::*;

/// ln 2 in two parts; the first has 9 trailing zero bits, so that n times it is exact.
const LN_2: [f32; 2] = [0.693_359_375, -2.121_944_4e-4];
const LOWEST: f32 = -87.3;
const HIGHEST: f32 = 88.3;
/// Adding it rounds to a whole number, which its low bits then are: one operation where V8 takes nine to convert.
const ROUNDING: f32 = 12_582_912.0;
/// Of the Taylor polynomial, from degree 7 down to 2; those of 1 and 0 are 1.
const COEFFICIENTS: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];

/// Its constants, read from memory: V8 makes a literal anew, in three instructions, at every use, and those are half of e^x.
pub struct Exp {
    lowest: v128,
    highest: v128,
    log2_e: v128,
    rounding: v128,
    ln_2: [v128; 2],
    coefficients: [v128; 6],
    one: v128,
}

#[repr(align(16))]
struct Table([[f32; 4]; 13]);
static TABLE: Table = Table([
    [LOWEST; 4],
    [HIGHEST; 4],
    [core::f32::consts::LOG2_E; 4],
    [ROUNDING; 4],
    [LN_2[0]; 4],
    [LN_2[1]; 4],
    [COEFFICIENTS[0]; 4],
    [COEFFICIENTS[1]; 4],
    [COEFFICIENTS[2]; 4],
    [COEFFICIENTS[3]; 4],
    [COEFFICIENTS[4]; 4],
    [COEFFICIENTS[5]; 4],
    [1.0; 4],
]);

impl Exp {
    #[inline(always)]
    pub fn read() -> Exp {
        // SAFETY: the table has so many vectors; volatile, or the compiler would put the literals back.
        let at = |i: usize| unsafe { (&raw const TABLE.0[i] as *const v128).read_volatile() };
        Exp {
            lowest: at(0),
            highest: at(1),
            log2_e: at(2),
            rounding: at(3),
            ln_2: [at(4), at(5)],
            coefficients: core::array::from_fn(|i| at(6 + i)),
            one: at(12),
        }
    }

    /// e^x to about one unit in the last place: x = n·ln 2 + r, Taylor polynomial of degree 7 in |r| ≤ ln 2 / 2 (next term
    /// below 6e-9). Below −87.3, where the result would be subnormal, it is 0; above 88.3 it stays at e^88.3. NaN gives NaN.
    #[inline(always)]
    pub fn of(&self, x: v128) -> v128 {
        let underflow = f32x4_lt(x, self.lowest);
        let x = f32x4_pmin(f32x4_pmax(x, self.lowest), self.highest);
        let rounded = f32x4_add(f32x4_mul(x, self.log2_e), self.rounding);
        let n = f32x4_sub(rounded, self.rounding);
        let r = f32x4_sub(x, f32x4_mul(n, self.ln_2[0]));
        let r = f32x4_sub(r, f32x4_mul(n, self.ln_2[1]));
        let mut sum = self.coefficients[0];
        for coefficient in &self.coefficients[1..] {
            sum = multiply_add(sum, r, *coefficient);
        }
        let sum = multiply_add(multiply_add(sum, r, self.one), r, self.one);
        // The bits of 1 are the exponent's bias.
        let power = i32x4_add(i32x4_shl(rounded, 23), self.one);
        v128_andnot(f32x4_mul(sum, power), underflow)
    }
}
