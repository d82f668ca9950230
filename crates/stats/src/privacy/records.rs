//! Samples as compositions, and as points of a distance.

use crate::{Error, Result};
use ndarray::Array2;
use serde::Serialize;
use std::collections::BTreeSet;

/// A distance between compositions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Half of the sum of absolute differences of relative abundances, 0 to 1.
    BrayCurtis,
    /// Euclidean distance of centred log-ratios of relative abundance plus half of the smallest one of the
    /// training table.
    Aitchison,
}

impl Distance {
    /// Name in words.
    pub fn name(self) -> &'static str {
        match self {
            Distance::BrayCurtis => "Bray-Curtis",
            Distance::Aitchison => "Aitchison",
        }
    }
}

/// The samples of a table that have a composition.
pub(super) struct Records {
    /// Rows sum to 1.
    relative: Array2<f64>,
    pub(super) n_empty: usize,
}

impl Records {
    pub(super) fn new(what: &'static str, table: &Array2<f64>) -> Result<Records> {
        for ((row, column), &value) in table.indexed_iter() {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::BadEntry {
                    what,
                    row,
                    column,
                    value,
                    expected: "a finite number that is not negative",
                });
            }
        }
        let totals: Vec<f64> = table.rows().into_iter().map(|row| row.sum()).collect();
        let rows: Vec<usize> = (0..totals.len()).filter(|i| totals[*i] > 0.0).collect();
        if rows.is_empty() {
            return Err(Error::TooFew {
                what: match what {
                    "training table" => "samples of the training table with a non-zero entry",
                    "hold-out" => "samples of the hold-out with a non-zero entry",
                    _ => "samples of the synthetic table with a non-zero entry",
                },
                found: 0,
                needed: 1,
            });
        }
        let mut relative = table.select(ndarray::Axis(0), &rows);
        for (mut row, i) in relative.rows_mut().into_iter().zip(&rows) {
            row.mapv_inplace(|value| value / totals[*i]);
        }
        Ok(Records {
            relative,
            n_empty: totals.len() - rows.len(),
        })
    }

    pub(super) fn n(&self) -> usize {
        self.relative.nrows()
    }

    /// Half of the smallest relative abundance above 0.
    pub(super) fn half_smallest(&self) -> f64 {
        let above_zero = self.relative.iter().copied().filter(|x| *x > 0.0);
        0.5 * above_zero.fold(f64::INFINITY, f64::min)
    }

    /// Share of the samples that equal one of `others` bit for bit.
    pub(super) fn copies_of(&self, others: &Records) -> f64 {
        let bits = |row: ndarray::ArrayView1<'_, f64>| -> Vec<u64> {
            row.iter().map(|x| x.to_bits()).collect()
        };
        let known: BTreeSet<Vec<u64>> = others.relative.rows().into_iter().map(bits).collect();
        let rows = self.relative.rows().into_iter();
        let n_copies = rows.filter(|row| known.contains(&bits(row.view()))).count();
        n_copies as f64 / self.n() as f64
    }

    /// Share of the values above 0 that the same taxon has in one of `others`, bit for bit.
    pub(super) fn values_of(&self, others: &Records) -> f64 {
        let (mut n_known, mut n) = (0_usize, 0_usize);
        for (own, other) in self
            .relative
            .columns()
            .into_iter()
            .zip(others.relative.columns())
        {
            let mut known: Vec<u64> = other.iter().map(|x| x.to_bits()).collect();
            known.sort_unstable();
            for value in own.iter().filter(|x| **x > 0.0) {
                n += 1;
                n_known += usize::from(known.binary_search(&value.to_bits()).is_ok());
            }
        }
        n_known as f64 / n as f64
    }
}

/// The samples as points, in which the distance is a sum over coordinates.
pub(super) fn points(records: &Records, distance: Distance, pseudocount: f64) -> Array2<f64> {
    match distance {
        Distance::BrayCurtis => records.relative.clone(),
        Distance::Aitchison => {
            let mut logs = records.relative.mapv(|x| (x + pseudocount).ln());
            for mut row in logs.rows_mut() {
                let mean = row.sum() / row.len() as f64;
                row.mapv_inplace(|x| x - mean);
            }
            logs
        }
    }
}
