//! How strongly taxa go together before and after filling: a model that fills from other taxa can
//! make them look more alike than they are.

use crate::error::check_length;
use crate::ranks::{ranks, spearman};
use crate::{Error, Result};
use ndarray::Array2;
use rayon::prelude::*;
use serde::Serialize;

/// A correlation above this in absolute value counts as strong.
pub const STRONG: f64 = 0.5;
/// Fewest samples in which both taxa of a pair are measured; two always correlate perfectly.
const MIN_SHARED: usize = 3;

/// Spearman correlations between taxa.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Strength {
    /// Mean of `|rho|` over pairs of taxa; `NaN` without a pair.
    pub mean_absolute: f64,
    /// Share of the pairs with `|rho| > 0.5`; `NaN` without a pair.
    pub share_strong: f64,
}

/// The same pairs before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Inflation {
    /// Pairs of taxa that both vary before.
    pub n_pairs: usize,
    /// In the original table.
    pub before: Strength,
    /// In the completed tables, mean over them.
    pub after: Strength,
}

/// Compares completed tables, which come in one after the other, with the original.
#[derive(Debug, Clone)]
pub struct CorrelationInflation {
    shape: [usize; 2],
    /// Per pair `(i, j)`, `i < j`, row after row: whether it has a correlation before.
    is_defined: Vec<Vec<bool>>,
    before: Strength,
    n_pairs: usize,
    after: Vec<Strength>,
}

impl CorrelationInflation {
    /// Takes in the original, `[n_samples, n_taxa]`; `NaN` was not measured, and a pair is looked at
    /// where both were.
    ///
    /// # Errors
    /// An infinite value.
    pub fn new(before: &Array2<f64>) -> Result<Self> {
        let rows = correlations(before)?;
        let is_defined: Vec<Vec<bool>> = rows
            .iter()
            .map(|row| row.iter().map(|rho| !rho.is_nan()).collect())
            .collect();
        let n_pairs = is_defined.iter().flatten().filter(|is| **is).count();
        let mut inflation = CorrelationInflation {
            shape: [before.nrows(), before.ncols()],
            is_defined,
            before: Strength {
                mean_absolute: f64::NAN,
                share_strong: f64::NAN,
            },
            n_pairs,
            after: Vec::new(),
        };
        inflation.before = inflation.strength(&rows);
        Ok(inflation)
    }

    /// Takes in a completed table.
    ///
    /// # Errors
    /// Another shape than the original's, an infinite value.
    pub fn add(&mut self, after: &Array2<f64>) -> Result<()> {
        check_length("samples", after.nrows(), self.shape[0])?;
        check_length("taxa", after.ncols(), self.shape[1])?;
        self.after.push(self.strength(&correlations(after)?));
        Ok(())
    }

    /// What came out.
    ///
    /// # Errors
    /// No completed table came in.
    pub fn finish(&self) -> Result<Inflation> {
        if self.after.is_empty() {
            return Err(Error::TooFew {
                what: "completed tables",
                found: 0,
                needed: 1,
            });
        }
        let mean = |of: fn(&Strength) -> f64| {
            self.after.iter().map(of).sum::<f64>() / self.after.len() as f64
        };
        Ok(Inflation {
            n_pairs: self.n_pairs,
            before: self.before,
            after: Strength {
                mean_absolute: mean(|s| s.mean_absolute),
                share_strong: mean(|s| s.share_strong),
            },
        })
    }

    /// Over the pairs that are defined before; one that no longer is counts as uncorrelated.
    fn strength(&self, rows: &[Vec<f64>]) -> Strength {
        let (mut sum, mut n_strong) = (0.0, 0usize);
        for (row, is_defined) in rows.iter().zip(&self.is_defined) {
            let pairs = row.iter().zip(is_defined).filter(|(_, is)| **is);
            for rho in pairs.map(|(rho, _)| rho.abs()) {
                sum += if rho.is_nan() { 0.0 } else { rho };
                n_strong += usize::from(rho > STRONG);
            }
        }
        Strength {
            mean_absolute: sum / self.n_pairs as f64,
            share_strong: n_strong as f64 / self.n_pairs as f64,
        }
    }
}

/// [`CorrelationInflation`] of tables that lie in memory.
///
/// # Errors
/// As there.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::correlation_inflation::correlation_inflation;
/// let before = array![[0.0, 2.0], [0.0, 1.0], [1.0, 0.0], [2.0, 3.0]];
/// let after = array![[0.1, 0.2], [0.0, 0.1], [1.0, 1.1], [2.0, 3.0]];
/// let found = correlation_inflation(&before, &[after])?;
/// assert!(found.after.mean_absolute > 0.99 && found.before.mean_absolute < 0.5);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn correlation_inflation(before: &Array2<f64>, after: &[Array2<f64>]) -> Result<Inflation> {
    let mut inflation = CorrelationInflation::new(before)?;
    for table in after {
        inflation.add(table)?;
    }
    inflation.finish()
}

/// Spearman's rho of each pair `(i, j)`, `i < j`: row `i` holds those with the taxa after `i`.
fn correlations(values: &Array2<f64>) -> Result<Vec<Vec<f64>>> {
    let columns: Vec<Vec<f64>> = (0..values.ncols())
        .map(|taxon| values.column(taxon).to_vec())
        .collect();
    for (column, taxon) in columns.iter().enumerate() {
        if let Some(row) = taxon.iter().position(|value| value.is_infinite()) {
            return Err(Error::BadEntry {
                what: "log-ratios",
                row,
                column,
                value: taxon[row],
                expected: "a finite number, or NaN where nothing was measured",
            });
        }
    }
    let directions: Vec<Option<Vec<f64>>> = columns
        .par_iter()
        .map(|column| direction(column))
        .collect::<Result<_>>()?;
    (0..columns.len())
        .into_par_iter()
        .map(|i| {
            (i + 1..columns.len())
                .map(|j| match (&directions[i], &directions[j]) {
                    (Some(a), Some(b)) => Ok(a.iter().zip(b).map(|(a, b)| a * b).sum()),
                    _ => of_shared(&columns[i], &columns[j]),
                })
                .collect()
        })
        .collect()
}

/// Centred ranks of length 1, whose products are correlations; `None` where entries are missing.
/// `NaN` throughout for a constant.
fn direction(column: &[f64]) -> Result<Option<Vec<f64>>> {
    if column.iter().any(|value| value.is_nan()) {
        return Ok(None);
    }
    let mean = (column.len() + 1) as f64 / 2.0;
    let mut ranks = ranks(column)?;
    ranks.iter_mut().for_each(|rank| *rank -= mean);
    let norm = ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt();
    ranks.iter_mut().for_each(|rank| *rank /= norm); // 0 / 0 for a constant
    Ok(Some(ranks))
}

fn of_shared(a: &[f64], b: &[f64]) -> Result<f64> {
    let shared = a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan());
    let (a, b): (Vec<f64>, Vec<f64>) = shared.unzip();
    if a.len() < MIN_SHARED {
        return Ok(f64::NAN);
    }
    spearman(&a, &b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number};

    #[test]
    fn mean_correlations_agree_with_scipy_over_the_pairs_that_vary_before() {
        let golden = load("differential");
        let expected = &golden["inflation"];
        let before = matrix(&expected["original"]);
        let after: Vec<_> = golden["tables"]
            .as_array()
            .unwrap()
            .iter()
            .map(matrix)
            .collect();
        let found = correlation_inflation(&before, &after).unwrap();
        assert_eq!(found.n_pairs as f64, number(&expected["n_pairs"]));
        for (name, strength) in [("before", found.before), ("after", found.after)] {
            let [mean, share] = [0, 1].map(|k| number(&expected[name][k]));
            assert_close(strength.mean_absolute, mean, 1e-12, name);
            assert_close(strength.share_strong, share, 1e-12, name);
        }
    }

    #[test]
    fn without_pairs_nothing_is_defined_and_without_tables_there_is_no_answer() {
        let one = Array2::from_elem((5, 1), 1.0);
        let found = correlation_inflation(&one, std::slice::from_ref(&one)).unwrap();
        assert!(found.n_pairs == 0 && found.before.mean_absolute.is_nan());
        assert!(correlation_inflation(&one, &[]).is_err());
        assert!(correlation_inflation(&one, &[Array2::zeros((4, 1))]).is_err());
        assert!(CorrelationInflation::new(&Array2::from_elem((5, 1), f64::INFINITY)).is_err());
    }
}
