//! Non-negative matrix factorisation of the observed values, by multiplicative updates.
//!
//! ```text
//! min over W, H >= 0 of 1/2 * sum over observed (y - W H')^2 + penalty / 2 * (|W|^2 + |H|^2)
//!   W <- W * (M*Y) H / ((M * W H') H + penalty * W), and H alike
//! ```
//!
//! Lee and Seung (2001) with weights `M`, 1 where observed and 0 elsewhere (Blondel, Ho and Van
//! Dooren 2008): hidden and absent entries do not count, so the product is the abundance given
//! presence. `y` is `ln(1 + percent)`, not centred.

use super::MeanOffset;
use crate::Incomplete;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Updates of both factors.
const N_UPDATES: usize = 100;
/// Keeps a denominator of 0 from giving NaN.
const TINY: f64 = 1e-12;
/// Key of the starting factors: part of the method's definition.
const SEED: u64 = 0x0000_4E3F;

/// `W H'`; rows of `rank` non-negative numbers.
#[derive(Debug, PartialEq)]
struct Factors {
    w: Vec<Vec<f64>>, // one per sample
    h: Vec<Vec<f64>>, // one per taxon
}

/// The factorisation, and what it cannot tell.
pub(super) struct Nmf<'a> {
    factors: Factors,
    entries: Entries,
    base: &'a MeanOffset,
}

/// Observed values, listed both ways.
struct Entries {
    by_sample: Vec<Vec<(usize, f64)>>,
    by_taxon: Vec<Vec<(usize, f64)>>,
}

impl<'a> Nmf<'a> {
    /// - `penalty`: in squared units of the table; a row of few entries would fit them exactly without
    pub(super) fn fit(table: &Incomplete, base: &'a MeanOffset, rank: usize, penalty: f64) -> Self {
        let mut entries = Entries {
            by_sample: vec![Vec::new(); table.n_samples()],
            by_taxon: vec![Vec::new(); table.n_taxa()],
        };
        let (mut sum, mut n) = (0.0, 0.0);
        for (sample, taxon, value) in table.observed() {
            entries.by_sample[sample].push((taxon, value));
            entries.by_taxon[taxon].push((sample, value));
            sum += value;
            n += 1.0;
        }
        // Products of the starting factors scatter about the mean of the table.
        let scale = if n > 0.0 {
            (sum / n / rank as f64).sqrt()
        } else {
            0.0
        };
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut start = |n_rows: usize| -> Vec<Vec<f64>> {
            let mut row = || {
                (0..rank)
                    .map(|_| scale * rng.random_range(0.5..1.5))
                    .collect()
            };
            (0..n_rows).map(|_| row()).collect()
        };
        let mut factors = Factors {
            w: start(table.n_samples()),
            h: start(table.n_taxa()),
        };
        entries.update(&mut factors, N_UPDATES, penalty);
        Nmf {
            factors,
            entries,
            base,
        }
    }

    /// Value given presence; mean plus offset where the sample or the taxon has nothing observed.
    pub(super) fn predict(&self, sample: usize, taxon: usize) -> f64 {
        if self.entries.by_sample[sample].is_empty() || self.entries.by_taxon[taxon].is_empty() {
            self.base.predict(sample, taxon)
        } else {
            dot(&self.factors.w[sample], &self.factors.h[taxon])
        }
    }
}

impl Entries {
    fn update(&self, factors: &mut Factors, n_updates: usize, penalty: f64) {
        for _ in 0..n_updates {
            update_rows(&self.by_sample, &mut factors.w, &factors.h, penalty);
            update_rows(&self.by_taxon, &mut factors.h, &factors.w, penalty);
        }
    }
}

/// One multiplicative update of the factor whose rows match `rows`.
fn update_rows(
    rows: &[Vec<(usize, f64)>],
    factor: &mut [Vec<f64>],
    other: &[Vec<f64>],
    penalty: f64,
) {
    factor.par_iter_mut().zip(rows).for_each(|(own, row)| {
        let mut above = vec![0.0; own.len()];
        let mut below: Vec<f64> = own.iter().map(|value| penalty * value).collect();
        for &(at, value) in row {
            let product = dot(own, &other[at]);
            for ((above, below), &other) in above.iter_mut().zip(&mut below).zip(&other[at]) {
                *above += value * other;
                *below += product * other;
            }
        }
        for ((own, above), below) in own.iter_mut().zip(&above).zip(&below) {
            *own *= above / (below + TINY);
        }
    });
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number};
    use ndarray::Array2;

    #[test]
    fn fifty_updates_are_those_of_the_numpy_formula() {
        let golden = load("weighted_nmf");
        let values = matrix(&golden["values"]);
        let mut entries = Entries {
            by_sample: vec![Vec::new(); values.nrows()],
            by_taxon: vec![Vec::new(); values.ncols()],
        };
        for ((i, j), &value) in values.indexed_iter().filter(|(_, v)| **v > 0.0) {
            entries.by_sample[i].push((j, value));
            entries.by_taxon[j].push((i, value));
        }
        let rows = |m: Array2<f64>| m.rows().into_iter().map(|row| row.to_vec()).collect();
        let mut factors = Factors {
            w: rows(matrix(&golden["w"])),
            h: rows(matrix(&golden["h"])),
        };
        entries.update(&mut factors, 50, number(&golden["penalty"]));
        for ((i, j), expected) in matrix(&golden["expected"]).indexed_iter() {
            let found = dot(&factors.w[i], &factors.h[j]);
            assert_close(found, *expected, 1e-10, &format!("{i} {j}"));
        }
    }
}
