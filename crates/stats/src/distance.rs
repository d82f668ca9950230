//! Distances between samples.

use crate::error::{Error, Result};
use ndarray::Array2;
use rayon::prelude::*;

/// Bray-Curtis distances between the rows of a table, on relative abundances (Bray and Curtis 1957):
/// `d(a, b) = sum |a - b| / sum (a + b)` with rows that sum to 1, so `sum |a - b| / 2`.
///
/// - `table`: `[n_samples, n_taxa]`, abundances in any unit, not negative
/// - returns `[n_samples, n_samples]`, 0 for equal compositions to 1 for no taxon in common; symmetric
///
/// # Errors
/// An entry that is negative or not finite; a row without a total, which has no composition.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::distance::bray_curtis;
/// let table = array![[1.0, 1.0, 0.0], [0.0, 5.0, 5.0], [20.0, 20.0, 0.0]];
/// let distances = bray_curtis(&table).unwrap();
/// assert_eq!((distances[[0, 1]], distances[[0, 2]]), (0.5, 0.0));
/// ```
pub fn bray_curtis(table: &Array2<f64>) -> Result<Array2<f64>> {
    for ((row, column), &value) in table.indexed_iter() {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::BadEntry {
                what: "abundances",
                row,
                column,
                value,
                expected: "a finite number that is not negative",
            });
        }
    }
    let mut shares: Vec<Vec<f64>> = Vec::with_capacity(table.nrows());
    for (row, values) in table.rows().into_iter().enumerate() {
        let total: f64 = values.iter().sum();
        if !(total > 0.0 && total.is_finite()) {
            return Err(Error::BadEntry {
                what: "totals of abundances",
                row,
                column: 0,
                value: total,
                expected: "a finite number above 0; leave out samples without a non-zero entry",
            });
        }
        shares.push(values.iter().map(|value| value / total).collect());
    }
    let n = shares.len();
    let below: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|i| (0..i).map(|j| half_l1(&shares[i], &shares[j])).collect())
        .collect();
    let mut distances = Array2::zeros((n, n));
    for (i, row) in below.iter().enumerate() {
        for (j, distance) in row.iter().enumerate() {
            distances[[i, j]] = *distance;
            distances[[j, i]] = *distance;
        }
    }
    Ok(distances)
}

/// Half of the sum of absolute differences, at most 1 but for rounding.
fn half_l1(a: &[f64], b: &[f64]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
    (sum / 2.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use ndarray::array;

    #[test]
    fn distances_are_those_of_scipy() {
        let golden = golden::load("ordination");
        let table = golden::matrix(&golden["small"]["table"]);
        let expected = golden::matrix(&golden["small"]["distances"]);
        let found = bray_curtis(&table).unwrap();
        golden::assert_matrix_close(&found, &expected, 1e-12, "Bray-Curtis");
    }

    #[test]
    fn samples_without_a_composition_are_refused_by_their_row() {
        let message = |table| bray_curtis(&table).unwrap_err().to_string();
        assert!(message(array![[1.0, 0.0], [0.0, 0.0]]).contains("row 1"));
        assert!(message(array![[1.0, f64::NAN]]).contains("column 1"));
        assert!(message(array![[1.0, -1.0]]).contains("not negative"));
        assert_eq!(bray_curtis(&Array2::zeros((0, 3))).unwrap().dim(), (0, 0));
    }
}
