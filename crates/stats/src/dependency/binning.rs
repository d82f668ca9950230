//! Columns as small whole numbers: zeros in a bin of their own, non-zeros in bins of equal frequency.

use crate::{Error, Result};
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

/// How non-zeros are cut into bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinOptions {
    /// Most bins of non-zeros, 1 to 15.
    pub max_bins: usize,
    /// Non-zeros per bin that are aimed at: a column with fewer than twice as many has one bin.
    pub min_per_bin: usize,
}

impl Default for BinOptions {
    /// Quartiles, from 40 non-zeros on.
    fn default() -> Self {
        BinOptions {
            max_bins: 4,
            min_per_bin: 10,
        }
    }
}

/// A column as small whole numbers: 0 for zeros, `1..n_bins` for non-zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binned {
    pub(super) bins: Vec<u8>,
    pub(super) n_bins: usize,
    /// Samples with a non-zero.
    pub(super) present: Vec<u32>,
    /// Samples per bin.
    pub(super) counts: Vec<u32>,
}

impl Binned {
    /// Makes a column discrete. Equal values share a bin, that of the first among them.
    ///
    /// # Errors
    /// Options out of range; an infinite value or `NaN`.
    pub fn new(column: ArrayView1<'_, f64>, options: BinOptions) -> Result<Self> {
        if !(1..=15).contains(&options.max_bins) {
            let value = options.max_bins.to_string();
            return Err(Error::BadOption {
                option: "max_bins",
                value,
                expected: "1 to 15",
            });
        }
        if options.min_per_bin == 0 {
            return Err(Error::BadOption {
                option: "min_per_bin",
                value: "0".to_string(),
                expected: "1 or more",
            });
        }
        if let Some(row) = column.iter().position(|value| !value.is_finite()) {
            let value = column[row];
            return Err(Error::BadEntry {
                what: "column to bin",
                row,
                column: 0,
                value,
                expected: "a finite number",
            });
        }
        let mut sorted: Vec<f64> = column
            .iter()
            .copied()
            .filter(|value| *value != 0.0)
            .collect();
        sorted.sort_by(f64::total_cmp);
        let n_parts = (sorted.len() / options.min_per_bin).clamp(1, options.max_bins);
        let bins: Vec<u8> = column
            .iter()
            .map(|value| match value {
                0.0 => 0,
                _ => {
                    let n_below = sorted.partition_point(|other| other < value);
                    1 + (n_below * n_parts / sorted.len()) as u8
                }
            })
            .collect();
        let n_bins = n_parts + 1;
        let mut counts = vec![0; n_bins];
        for &bin in &bins {
            counts[usize::from(bin)] += 1;
        }
        let present = (0..bins.len() as u32)
            .filter(|at| bins[*at as usize] > 0)
            .collect();
        Ok(Binned {
            bins,
            n_bins,
            present,
            counts,
        })
    }

    /// Bin of each sample.
    pub fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// Number of samples with a non-zero.
    pub fn n_present(&self) -> usize {
        self.present.len()
    }

    /// Bins that hold a sample.
    pub(super) fn n_used_bins(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0).count()
    }

    /// `sum n ln n` over the bins, by a table of `n ln n`.
    pub(super) fn sum_n_ln_n(&self, n_ln_n: &[f64]) -> f64 {
        self.counts
            .iter()
            .map(|count| n_ln_n[*count as usize])
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{load, matrix, vector};
    use ndarray::array;

    #[test]
    fn bins_agree_with_numpy_ties_included() {
        let golden = load("mutual_information");
        for (j, column) in matrix(&golden["y"]).columns().into_iter().enumerate() {
            let expected: Vec<u8> = vector(&golden["bins"][j])
                .iter()
                .map(|bin| *bin as u8)
                .collect();
            let found = Binned::new(column, BinOptions::default()).unwrap();
            assert_eq!(found.bins(), expected, "column {j}");
        }
    }

    #[test]
    fn zeros_have_their_own_bin_and_equal_values_share_one() {
        let column = array![3.0, 0.0, 1.0, 1.0, -0.0, 1.0];
        let found = Binned::new(
            column.view(),
            BinOptions {
                max_bins: 2,
                min_per_bin: 1,
            },
        )
        .unwrap();
        // Of the sorted 1, 1, 1, 3 the second half starts within the ones, which stay together.
        assert_eq!(found.bins(), [2, 0, 1, 1, 0, 1]);
        assert_eq!((found.n_present(), found.n_used_bins()), (4, 3));
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let column = array![1.0, f64::NAN];
        for (max_bins, min_per_bin) in [(0, 1), (16, 1), (4, 0), (4, 10)] {
            assert!(
                Binned::new(
                    column.view(),
                    BinOptions {
                        max_bins,
                        min_per_bin
                    }
                )
                .is_err()
            );
        }
    }
}
