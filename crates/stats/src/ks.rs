//! Kolmogorov and Smirnov: how far two distributions are apart.

use crate::{Error, Result};
use rayon::prelude::*;

/// The statistic of the two-sample test: the largest difference of the two empirical distribution
/// functions (Smirnov 1939). From 0 to 1; ties are taken together.
///
/// # Errors
/// A sample without values, a `NaN`.
///
/// # Example
/// ```
/// use suffuse_stats::ks::ks;
/// assert_eq!(ks(&[1.0, 2.0, 3.0, 4.0], &[2.5, 3.5, 4.5, 5.5]).unwrap(), 0.5);
/// ```
pub fn ks(a: &[f64], b: &[f64]) -> Result<f64> {
    Ok(ks_sorted(&sorted(a)?, &sorted(b)?))
}

/// The values in rising order.
fn sorted(values: &[f64]) -> Result<Vec<f64>> {
    if values.is_empty() {
        return Err(Error::TooFew {
            what: "values of a distribution",
            found: 0,
            needed: 1,
        });
    }
    if let Some(row) = values.iter().position(|value| value.is_nan()) {
        return Err(Error::BadEntry {
            what: "values of a distribution",
            row,
            column: 0,
            value: f64::NAN,
            expected: "a number",
        });
    }
    let mut sorted = values.to_vec();
    sorted.par_sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

fn ks_sorted(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j) = (0, 0);
    let mut largest = 0.0_f64;
    while i < a.len() && j < b.len() {
        let value = if a[i] <= b[j] { a[i] } else { b[j] };
        while i < a.len() && a[i] <= value {
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            j += 1;
        }
        largest = largest.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, number, vector};

    #[test]
    fn the_statistic_is_that_of_scipy_with_ties_and_without() {
        let golden = load("two_samples");
        for case in golden["ks"].as_array().unwrap() {
            let (a, b) = (vector(&case["a"]), vector(&case["b"]));
            let found = ks(a.as_slice().unwrap(), b.as_slice().unwrap()).unwrap();
            assert_close(found, number(&case["statistic"]), 1e-14, "D");
        }
    }

    #[test]
    fn equal_samples_are_0_apart_and_separate_ones_1() {
        assert_eq!(ks(&[0.0, -0.0, 3.0], &[3.0, 0.0, 0.0]).unwrap(), 0.0);
        assert_eq!(ks(&[1.0, 2.0], &[3.0]).unwrap(), 1.0);
        assert!(ks(&[], &[1.0]).is_err() && ks(&[1.0], &[f64::NAN]).is_err());
    }
}
