//! The exponential of a vector, without branches and without library calls.

use crate::vector::{Instructions, LANES, Lanes};

/// Below this the result is exactly zero: no subnormal numbers, which are slow.
const LOWEST: f32 = -87.0;
/// Adding this rounds to the nearest integer, which then stands in the low bits: `1.5 * 2^23`.
const ROUND: f32 = 12_582_912.0;
/// `ln 2` in two parts; the first has few enough bits for an exact product with the exponent.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x` of each number, relative error below `2e-7`.
///
/// `e^x = 2^n e^r`, `n = round(x / ln 2)`, `|r| <= ln 2 / 2`, with the polynomial of degree 7 of the
/// Cephes library (`expf`, Moshier 1989) for `e^r`.
///
/// - `x`: at most 88; below -87 the result is exactly zero; NaN gives NaN
#[inline(always)]
pub(crate) fn exp<I: Instructions>(x: &Lanes) -> Lanes {
    let mut y = [0.0; LANES];
    for l in 0..LANES {
        let x = x[l];
        // Written so that NaN is kept: it fails the comparison.
        let z = if x < LOWEST { LOWEST } else { x };
        let shifted = I::mul_add(z, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = I::mul_add(n, -LN_2_LOW, I::mul_add(n, -LN_2_HIGH, z));
        let mut p = 1.987_569_1e-4;
        p = I::mul_add(p, r, 1.398_199_9e-3);
        p = I::mul_add(p, r, 8.333_452e-3);
        p = I::mul_add(p, r, 4.166_579_6e-2);
        p = I::mul_add(p, r, 1.666_666_5e-1);
        p = I::mul_add(p, r, 0.5);
        let power = I::mul_add(p, r * r, r) + 1.0;
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
        y[l] = if x < LOWEST { 0.0 } else { power * scale };
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Baseline;

    fn largest_error<I: Instructions>() -> f64 {
        let mut worst = 0.0_f64;
        let n = 400_000_u32;
        for i in 0..n / LANES as u32 {
            let x: Lanes = std::array::from_fn(|l| {
                let share = f64::from(i * LANES as u32 + l as u32) / f64::from(n);
                (-87.0 + 175.0 * share) as f32
            });
            for (x, y) in x.iter().zip(exp::<I>(&x)) {
                let exact = f64::from(*x).exp(); // the standard library in double precision
                worst = worst.max((f64::from(y) / exact - 1.0).abs());
            }
        }
        worst
    }

    #[test]
    fn exp_agrees_with_double_precision_over_its_range() {
        assert!(
            largest_error::<Fused>() < 2e-7,
            "{}",
            largest_error::<Fused>()
        );
        assert!(
            largest_error::<Separate>() < 2e-7,
            "{}",
            largest_error::<Separate>()
        );
    }

    #[test]
    fn exp_is_exact_at_zero_vanishes_far_below_and_keeps_nan() {
        let mut x = [0.0; LANES];
        x[1] = f32::NEG_INFINITY;
        x[2] = -1e9;
        x[3] = -87.001;
        x[4] = f32::NAN;
        for y in [exp::<Fused>(&x), exp::<Separate>(&x)] {
            assert_eq!(y[0], 1.0);
            assert_eq!(y[1..4], [0.0; 3]);
            assert!(y[4].is_nan());
        }
    }
}
