//! Percent of a sample's total, and its logarithms.
//!
//! `Scale` is the total of a sample in raw units, everywhere here. Where it is 0, every value is 0.

use super::Scale;
use std::f64::consts::LN_10;

/// Sum of the measured entries of a sample.
pub fn total(sample: &[f64]) -> Scale {
    Scale(sample.iter().filter(|x| !x.is_nan()).sum())
}

/// `100 x / total`.
pub fn percent(x: f64, total: Scale) -> f64 {
    if total.0 == 0.0 {
        0.0 * x
    } else {
        100.0 * (x / total.0)
    }
}

/// The inverse of [`percent`].
pub fn from_percent(percent: f64, total: Scale) -> f64 {
    percent / 100.0 * total.0
}

/// `ln(1 + 100 x / total)`.
pub fn ln1p_percent(x: f64, total: Scale) -> f64 {
    percent(x, total).ln_1p()
}

/// The inverse of [`ln1p_percent`].
pub fn from_ln1p_percent(y: f64, total: Scale) -> f64 {
    from_percent(y.exp_m1(), total)
}

/// `log10(1 + 100 x / total)`, as DepMicroDiff prints in Eq. 10-11.
pub fn log10_1p_percent(x: f64, total: Scale) -> f64 {
    ln1p_percent(x, total) / LN_10
}

/// The inverse of [`log10_1p_percent`].
pub fn from_log10_1p_percent(y: f64, total: Scale) -> f64 {
    from_ln1p_percent(y * LN_10, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy: np.log1p(100 * 3 / 8), np.log10(1 + 100 * 3 / 8).
    #[test]
    fn known_values_in_both_bases() {
        let total = total(&[3.0, f64::NAN, 0.0, 5.0]);
        assert_eq!(total, Scale(8.0));
        assert_eq!(percent(3.0, total), 37.5);
        assert!((ln1p_percent(3.0, total) - 3.650658241).abs() < 1e-9);
        assert!((log10_1p_percent(3.0, total) - 1.585460730).abs() < 1e-9);
    }

    #[test]
    fn a_total_of_zero_gives_zero_and_keeps_nan() {
        assert_eq!(ln1p_percent(0.0, Scale(0.0)), 0.0);
        assert!(ln1p_percent(f64::NAN, Scale(0.0)).is_nan());
    }
}
