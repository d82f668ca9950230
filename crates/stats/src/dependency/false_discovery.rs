//! Adjusted p-values that control the false discovery rate over many tests.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How p-values are adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// Benjamini and Hochberg (1995): tests that are independent or positively dependent.
    #[default]
    BenjaminiHochberg,
    /// Benjamini and Yekutieli (2001): any dependence, at a price of `ln(n_tests)`.
    BenjaminiYekutieli,
}

/// Adjusts p-values; the result (`q`) is in the order of the input and at most 1.
///
/// `q_(k) = min over l >= k of p_(l) * n / l` for rising `p`, times `1 + 1/2 + ... + 1/n` for
/// Benjamini-Yekutieli. Rejecting `q <= alpha` keeps the expected share of false ones below `alpha`.
///
/// # Errors
/// A p-value outside of 0..=1, `NaN` included.
///
/// # Example
/// ```
/// use suffuse_stats::dependency::{Correction, adjust};
/// assert_eq!(adjust(&[0.01, 0.5], Correction::BenjaminiHochberg)?, [0.02, 0.5]);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn adjust(p_values: &[f64], correction: Correction) -> Result<Vec<f64>> {
    if let Some(row) = p_values.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::BadEntry {
            what: "p-values",
            row,
            column: 0,
            value: p_values[row],
            expected: "a probability in 0..=1",
        });
    }
    let n = p_values.len();
    let factor = match correction {
        Correction::BenjaminiHochberg => 1.0,
        Correction::BenjaminiYekutieli => (1..=n).map(|k| 1.0 / k as f64).sum(),
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; n];
    let mut smallest: f64 = 1.0;
    for (rank, &at) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[at] * factor * n as f64 / (rank + 1) as f64);
        adjusted[at] = smallest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, vector};

    #[test]
    fn adjusted_p_values_agree_with_scipy() {
        let golden = load("false_discovery");
        let p = vector(&golden["p"]).to_vec();
        for (correction, key) in [
            (Correction::BenjaminiHochberg, "bh"),
            (Correction::BenjaminiYekutieli, "by"),
        ] {
            let found = adjust(&p, correction).unwrap();
            for (k, expected) in vector(&golden[key]).iter().enumerate() {
                assert_close(found[k], *expected, 1e-13, &format!("{key} {k}"));
            }
        }
    }

    #[test]
    fn a_p_value_that_is_no_probability_is_refused_and_no_tests_are_fine() {
        for bad in [-0.1, 1.1, f64::NAN] {
            let result = adjust(&[0.5, bad], Correction::BenjaminiHochberg);
            assert!(matches!(result, Err(Error::BadEntry { row: 1, .. })));
        }
        assert!(
            adjust(&[], Correction::BenjaminiYekutieli)
                .unwrap()
                .is_empty()
        );
    }
}
