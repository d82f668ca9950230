//! Proportionality of taxa: association that survives the closure of compositions.
//!
//! On centred log-ratios `c = ln x - mean(ln x)`, with variances over samples,
//! `rho_p(i, j) = 1 - var(c_i - c_j) / (var c_i + var c_j)` (Lovell et al. 2015; Erb and
//! Notredame 2016) and `phi_s(i, j) = var(c_i - c_j) / var(c_i + c_j)` (Quinn et al. 2017).
//! For many taxa `rho_p` tends to SparCC's correlation, without its sparsity assumption.

use crate::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// What stands in for a zero before logarithms. Zeros dominate sparse tables, and the choice moves
/// the figures: report it with them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ZeroReplacement {
    /// Half of the smallest positive value of the table: below detection, in any unit.
    #[default]
    HalfSmallest,
    /// A fixed positive value in the unit of the table, such as 0.5 reads.
    Value(f64),
}

/// Proportionality of all pairs; `[n_taxa, n_taxa]`, symmetric.
#[derive(Debug, Clone, PartialEq)]
pub struct Proportionality {
    /// From -1 (reciprocal) to 1 (proportional); 1 on the diagonal, `NaN` where neither taxon varies.
    pub rho_p: Array2<f64>,
    /// 0 for proportional, 1 for unrelated, infinite for reciprocal; 0 on the diagonal, `NaN`
    /// where neither taxon varies.
    pub phi_s: Array2<f64>,
}

/// Computes `rho_p` and `phi_s` of all pairs of taxa.
///
/// - `abundances`: `[n_samples, n_taxa]`, reads or shares (not logarithms), finite and not negative.
///   Drop all-zero samples before: after replacement they read as perfectly even ones.
///
/// # Errors
/// Fewer than 2 samples; a table without positive values; a value that is negative or not finite;
/// a replacement that is not positive.
pub fn proportionality(
    abundances: &Array2<f64>,
    zeros: ZeroReplacement,
) -> Result<Proportionality> {
    check_samples(abundances)?;
    proportionality_of_log_ratios(centred_log_ratios(abundances, zeros)?)
}

/// The same from centred log-ratios, `[n_samples, n_taxa]`.
///
/// # Errors
/// Fewer than 2 samples.
pub fn proportionality_of_log_ratios(mut clr: Array2<f64>) -> Result<Proportionality> {
    check_samples(&clr)?;
    let (n_samples, n_taxa) = clr.dim();
    for mut column in clr.columns_mut() {
        let mean = column.sum() / n_samples as f64;
        column.mapv_inplace(|value| value - mean);
    }
    let products = clr.t().dot(&clr); // [n_taxa, n_taxa]
    // Variances of sums and differences from the cross products; the divisors cancel.
    let ratio = |of: fn(f64, f64, f64) -> f64| {
        Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| {
            of(products[[i, i]], products[[j, j]], products[[i, j]])
        })
    };
    Ok(Proportionality {
        rho_p: ratio(|ii, jj, ij| 2.0 * ij / (ii + jj)),
        phi_s: ratio(|ii, jj, ij| (ii + jj - 2.0 * ij).max(0.0) / (ii + jj + 2.0 * ij).max(0.0)),
    })
}

fn check_samples(table: &Array2<f64>) -> Result<()> {
    match table.nrows() {
        found @ 0..2 => Err(Error::TooFew {
            what: "samples",
            found,
            needed: 2,
        }),
        _ => Ok(()),
    }
}

/// `ln x` minus its mean over the sample, after zeros are replaced; `[n_samples, n_taxa]`.
///
/// # Errors
/// As [`proportionality`], but any number of samples.
pub fn centred_log_ratios(abundances: &Array2<f64>, zeros: ZeroReplacement) -> Result<Array2<f64>> {
    for ((row, column), &value) in abundances.indexed_iter() {
        if !value.is_finite() || value < 0.0 {
            let expected = "a finite number, 0 or more";
            return Err(Error::BadEntry {
                what: "abundances",
                row,
                column,
                value,
                expected,
            });
        }
    }
    let replacement = match zeros {
        ZeroReplacement::Value(value) if value.is_finite() && value > 0.0 => value,
        ZeroReplacement::Value(value) => {
            let value = value.to_string();
            return Err(Error::BadOption {
                option: "zero replacement",
                value,
                expected: "a positive number",
            });
        }
        ZeroReplacement::HalfSmallest => {
            let positive = abundances.iter().copied().filter(|value| *value > 0.0);
            let smallest = positive.reduce(f64::min);
            smallest.ok_or(Error::TooFew {
                what: "positive values",
                found: 0,
                needed: 1,
            })? / 2.0
        }
    };
    let mut clr = abundances.mapv(|value| {
        if value > 0.0 {
            value.ln()
        } else {
            replacement.ln()
        }
    });
    for mut row in clr.rows_mut() {
        let mean = row.sum() / row.len() as f64;
        row.mapv_inplace(|value| value - mean);
    }
    Ok(clr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, assert_matrix_close, load, matrix};
    use ndarray::array;

    #[test]
    fn log_ratios_and_both_measures_agree_with_their_definitions_in_numpy() {
        let golden = load("proportionality");
        let counts = matrix(&golden["counts"]);
        let zeros = ZeroReplacement::Value(0.5);
        assert_matrix_close(
            &centred_log_ratios(&counts, zeros).unwrap(),
            &matrix(&golden["clr"]),
            1e-12,
            "clr",
        );
        let found = proportionality(&counts, zeros).unwrap();
        assert_matrix_close(&found.rho_p, &matrix(&golden["rho_p"]), 1e-11, "rho_p");
        assert_matrix_close(&found.phi_s, &matrix(&golden["phi_s"]), 1e-10, "phi_s");
        // The smallest count is 1, so half of it is the same replacement.
        assert_eq!(
            proportionality(&counts, ZeroReplacement::HalfSmallest).unwrap(),
            found
        );
    }

    #[test]
    fn a_taxon_and_its_double_are_proportional_whatever_the_depth() {
        let table = array![[1.0, 2.0, 5.0], [30.0, 60.0, 7.0], [2.0, 4.0, 90.0]];
        let found = proportionality(&table, ZeroReplacement::default()).unwrap();
        assert_close(found.rho_p[[0, 1]], 1.0, 1e-12, "rho_p");
        assert_close(found.phi_s[[0, 1]], 0.0, 1e-12, "phi_s");
        assert!(found.rho_p[[0, 2]] < 0.0);
    }

    #[test]
    fn what_has_no_logarithm_is_refused() {
        let zeros = ZeroReplacement::default();
        assert!(matches!(
            proportionality(&array![[1.0]], zeros),
            Err(Error::TooFew {
                what: "samples",
                ..
            })
        ));
        assert!(matches!(
            proportionality(&Array2::zeros((2, 2)), zeros),
            Err(Error::TooFew { .. })
        ));
        assert!(matches!(
            proportionality(&array![[-1.0], [1.0]], zeros),
            Err(Error::BadEntry { .. })
        ));
        let bad = ZeroReplacement::Value(0.0);
        assert!(matches!(
            proportionality(&array![[1.0], [1.0]], bad),
            Err(Error::BadOption { .. })
        ));
    }
}
