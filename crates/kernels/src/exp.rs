//! The exponential of a vector, without branches and without library calls.

use crate::vector::Instructions;

/// Below this the result is exactly zero: no subnormal numbers, which are slow.
const LOWEST: f32 = -87.0;
/// Adding this rounds to the nearest integer, which then stands in the low bits: `1.5 * 2^23`.
const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts; the first has few enough bits for an exact product with the exponent.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Coefficients of `(e^r - 1 - r) / r^2`, the highest first.
const POLYNOMIAL: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    1.666_666_5e-1,
    0.5,
];

/// `e^x` of each number, relative error below `2e-7`.
///
/// `e^x = 2^n e^r`, `n = round(x / ln 2)`, `|r| <= ln 2 / 2`, with the polynomial of degree 7 of the
/// Cephes library (`expf`, Moshier 1989) for `e^r`.
///
/// - `x`: at most 88; below -87 the result is exactly zero; NaN gives NaN
#[inline(always)]
pub(crate) fn exp<I: Instructions>(set: I, x: I::Vector) -> I::Vector {
    let lowest = set.splat(LOWEST);
    // Written so that NaN is kept: it fails the comparison.
    let z = set.where_less([x, lowest], lowest, x);
    let shifted = set.mul_add(z, set.splat(std::f32::consts::LOG2_E), set.splat(ROUND));
    let n = set.sub(shifted, set.splat(ROUND));
    let r = set.mul_add(n, set.splat(-LN_2_HIGH), z);
    let r = set.mul_add(n, set.splat(-LN_2_LOW), r);
    let mut p = set.splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        p = set.mul_add(p, r, set.splat(*coefficient));
    }
    let power = set.add(set.mul_add(p, set.mul(r, r), r), set.splat(1.0));
    let y = set.mul(power, set.power_of_two(shifted));
    set.where_less([x, lowest], set.splat(0.0), y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Kernel, LANES, on_every_set, read};

    /// Exponentials of `x`, compared with double precision by `check`.
    struct Exp<'a> {
        x: &'a [f32],
        check: fn(x: f32, y: f32),
    }

    impl Kernel for Exp<'_> {
        #[inline(always)]
        fn run<I: Instructions>(self, set: I) {
            for i in 0..self.x.len() / LANES {
                let y = set.store(exp(set, read(set, self.x, i)));
                self.x[i * LANES..]
                    .iter()
                    .zip(y)
                    .for_each(|(x, y)| (self.check)(*x, y));
            }
        }
    }

    #[test]
    fn exp_agrees_with_double_precision_over_its_range() {
        let n = 400_000_u32;
        let at = |i| (-87.0 + 175.0 * f64::from(i) / f64::from(n)) as f32;
        let x: Vec<f32> = (0..n).map(at).collect();
        let check = |x: f32, y: f32| {
            let exact = f64::from(x).exp(); // the standard library in double precision
            assert!((f64::from(y) / exact - 1.0).abs() < 2e-7, "exp({x}) = {y}");
        };
        on_every_set(|| Exp { x: &x, check });
    }

    #[test]
    fn exp_is_exact_at_zero_vanishes_far_below_and_keeps_nan() {
        let check = |x: f32, y: f32| match x {
            0.0 => assert_eq!(y, 1.0),
            x if x.is_nan() => assert!(y.is_nan()),
            _ => assert_eq!(y.to_bits(), 0, "exp({x}) = {y}"),
        };
        let mut x = [0.0; LANES];
        x[1..6].copy_from_slice(&[f32::NEG_INFINITY, -1e9, -87.001, f32::NAN, -0.0]);
        on_every_set(|| Exp { x: &x, check });
    }
}
