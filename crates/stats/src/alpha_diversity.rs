//! Diversity within a sample. Faith's phylogenetic diversity is in [`crate::unifrac`].

use crate::Result;
use crate::distance::{check_abundances, shares};
use ndarray::Array2;

/// Taxa present, per row of `[n_samples, n_taxa]`.
///
/// # Errors
/// An entry that is negative or not finite.
pub fn richness(table: &Array2<f64>) -> Result<Vec<f64>> {
    check_abundances(table)?;
    let present = |row: ndarray::ArrayView1<f64>| row.iter().filter(|x| **x > 0.0).count() as f64;
    Ok(table.outer_iter().map(present).collect())
}

/// Shannon's entropy `-sum p ln p` in nats (Shannon 1948), per row.
///
/// # Errors
/// As [`crate::distance::bray_curtis`].
pub fn shannon(table: &Array2<f64>) -> Result<Vec<f64>> {
    let term = |p: &f64| if *p > 0.0 { -p * p.ln() } else { 0.0 };
    let of_row = |row: ndarray::ArrayView1<f64>| row.iter().map(term).sum();
    Ok(shares(table)?.outer_iter().map(of_row).collect())
}

/// Simpson's index `1 - sum p^2` (Simpson 1949), per row: the chance that two reads are of two taxa.
///
/// # Errors
/// As [`crate::distance::bray_curtis`].
pub fn simpson(table: &Array2<f64>) -> Result<Vec<f64>> {
    let of_row = |row: ndarray::ArrayView1<f64>| 1.0 - row.iter().map(|p| p * p).sum::<f64>();
    Ok(shares(table)?.outer_iter().map(of_row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, vector};
    use ndarray::array;

    #[test]
    fn diversities_are_those_of_scikit_bio() {
        let golden = load("two_samples");
        let table = matrix(&golden["table"]);
        for (name, found) in [
            ("richness", richness(&table)),
            ("shannon", shannon(&table)),
            ("simpson", simpson(&table)),
        ] {
            let found = found.unwrap();
            let expected = vector(&golden[name]);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_close(*found, *expected, 1e-12, name);
            }
        }
    }

    #[test]
    fn an_even_sample_has_the_logarithm_of_its_richness() {
        let table = array![[3.0, 3.0, 3.0, 3.0, 0.0]];
        assert_close(shannon(&table).unwrap()[0], 4.0_f64.ln(), 1e-15, "Shannon");
        assert_close(simpson(&table).unwrap()[0], 0.75, 1e-15, "Simpson");
        assert!(shannon(&array![[0.0, 0.0]]).is_err() && richness(&array![[f64::NAN]]).is_err());
    }
}
