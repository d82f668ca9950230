//! Local least squares: a hidden entry from the taxa of its sample that its taxon goes with.
//!
//! ```text
//! hidden (sample i, taxon j) -> the k taxa observed in i that correlate most with j
//!   -> ridge regression of j on them, over the samples in which j is observed -> value
//! ```
//!
//! Kim, Golub and Park (2005), Bioinformatics 21:187, with absence in the place of a low value. All
//! is done on residuals of taxon mean plus sample offset, with the offset as it is without `j`; a
//! partner that is not observed in a sample of the regression has residual 0 there.

use super::MeanOffset;
use super::deviations::Deviations;
use crate::Incomplete;
use crate::least_squares::solve_positive_definite;
use ndarray::Array2;
use rayon::prelude::*;

/// A correlation over `n` samples is multiplied by `n / (n + SHRINKAGE)`: one over few samples is
/// large by chance.
const SHRINKAGE: f64 = 10.0;
/// Ridge of the regression, in mean squared residuals of the table: as if each partner had been seen
/// unrelated in so many more samples.
const RIDGE: f64 = 5.0;

/// Fills each hidden entry by a regression on at most `n_partners` taxa.
///
/// Ties of the correlation go to the earlier taxon; a correlation of 0 makes no partner. Without a
/// partner the value is taxon mean plus offset. The result is raised to `smallest`.
pub(super) fn impute(
    table: &Incomplete,
    base: &MeanOffset,
    smallest: f64,
    n_partners: usize,
) -> Array2<f64> {
    let deviations = Deviations::new(table, base);
    let mut hidden = vec![Vec::new(); table.n_taxa()];
    for (sample, taxon) in table.hidden() {
        hidden[taxon].push(sample);
    }
    let (mut squares, mut n_observed) = (0.0, 0.0);
    for (sample, taxon, value) in table.observed() {
        squares += (value - base.predict(sample, taxon)).powi(2);
        n_observed += 1.0;
    }
    // Any positive ridge will do where all residuals are 0, as their regression is.
    let ridge = if squares > 0.0 {
        RIDGE * squares / n_observed
    } else {
        1.0
    };
    let predicted: Vec<Vec<f64>> = hidden
        .par_iter()
        .enumerate()
        .map(|(taxon, samples)| {
            if samples.is_empty() {
                return Vec::new();
            }
            let regression = Regression::new(&deviations, taxon, table.n_taxa(), ridge);
            samples
                .iter()
                .map(|&sample| {
                    let residual =
                        regression.predict(sample, base.sample_offset(sample), n_partners);
                    (base.predict(sample, taxon) + residual).max(smallest)
                })
                .collect()
        })
        .collect();
    let mut completed = table.values.clone();
    for (taxon, (samples, values)) in hidden.iter().zip(predicted).enumerate() {
        for (&sample, value) in samples.iter().zip(values) {
            completed[[sample, taxon]] = value;
        }
    }
    completed
}

/// What predicting one taxon needs.
struct Regression<'a> {
    deviations: &'a Deviations,
    ridge: f64,
    /// Residuals of the taxon in the samples in which it is observed.
    targets: Vec<f64>,
    /// Residuals of the other taxa in the same samples, one column per taxon, 0 where not observed.
    others: Vec<Vec<f64>>,
    /// Other taxa, by falling size of their correlation.
    partners: Vec<usize>,
}

impl<'a> Regression<'a> {
    fn new(deviations: &'a Deviations, taxon: usize, n_taxa: usize, ridge: f64) -> Self {
        let samples = &deviations.by_taxon[taxon];
        let mut targets = Vec::with_capacity(samples.len());
        let mut others = vec![vec![0.0; samples.len()]; n_taxa];
        let mut sums = vec![Moments::default(); n_taxa];
        for (row, &(sample, deviation)) in samples.iter().enumerate() {
            let offset = deviations.offset_without(sample, deviation);
            let target = deviation - offset;
            targets.push(target);
            for &(other, deviation) in &deviations.by_sample[sample] {
                if other != taxon {
                    let residual = deviation - offset;
                    others[other][row] = residual;
                    sums[other].push(residual, target);
                }
            }
        }
        let mut ranked: Vec<(f64, usize)> = sums
            .iter()
            .map(|sums| sums.correlation().abs())
            .zip(0..)
            .filter(|(size, _)| *size > 0.0)
            .collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Regression {
            deviations,
            ridge,
            targets,
            others,
            partners: ranked.into_iter().map(|(_, other)| other).collect(),
        }
    }

    /// Residual of the taxon in a sample where it is hidden.
    fn predict(&self, sample: usize, offset: f64, n_partners: usize) -> f64 {
        let observed = &self.deviations.by_sample[sample];
        let chosen: Vec<(usize, f64)> = self
            .partners
            .iter()
            .filter_map(|&partner| {
                let at = observed.binary_search_by_key(&partner, |entry| entry.0);
                at.ok().map(|at| (partner, observed[at].1 - offset))
            })
            .take(n_partners)
            .collect();
        let column = |p: usize| &self.others[chosen[p].0];
        let n = chosen.len();
        let mut gram = Array2::zeros((n, n));
        let mut right = vec![0.0; n];
        for p in 0..n {
            right[p] = dot(column(p), &self.targets);
            for q in 0..=p {
                gram[[p, q]] = dot(column(p), column(q));
            }
            gram[[p, p]] += self.ridge;
        }
        solve_positive_definite(&mut gram, &mut right);
        right.iter().zip(&chosen).map(|(b, (_, x))| b * x).sum()
    }
}

/// Sums over the samples in which both taxa are observed.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Moments {
    fn push(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.xx += x * x;
        self.yy += y * y;
        self.xy += x * y;
    }

    /// Correlation about 0, where residuals have their centre; shrunk; 0 where it is not defined.
    fn correlation(self) -> f64 {
        let scale = (self.xx * self.yy).sqrt();
        if scale > 0.0 {
            self.xy / scale * self.n / (self.n + SHRINKAGE)
        } else {
            0.0
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four lanes in a fixed order, so that the compiler may use vector instructions.
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let tail: f64 = a4
        .remainder()
        .iter()
        .zip(b4.remainder())
        .map(|(a, b)| a * b)
        .sum();
    let mut lanes = [0.0; 4];
    for (a, b) in a4.zip(b4) {
        for lane in 0..4 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, assert_matrix_close, load, matrix};
    use ndarray::array;

    #[test]
    fn four_partners_give_the_values_of_the_numpy_definition() {
        let golden = load("imputers");
        let table = Incomplete::from_values(matrix(&golden["values"])).unwrap();
        let smallest = table.smallest_observed().unwrap();
        let found = impute(&table, &MeanOffset::fit(&table), smallest, 4);
        let expected = matrix(&golden["expected"]["local-least-squares"]);
        assert_matrix_close(&found, &expected, 1e-10, "local least squares");
    }

    #[test]
    fn a_system_of_three_is_solved() {
        // (4 2 2; 2 5 3; 2 3 6) (1, -2, 3) = (6, 1, 14).
        let mut gram = array![[4.0, 2.0, 2.0], [2.0, 5.0, 3.0], [2.0, 3.0, 6.0]];
        let mut right = [6.0, 1.0, 14.0];
        solve_positive_definite(&mut gram, &mut right);
        for (found, expected) in right.into_iter().zip([1.0, -2.0, 3.0]) {
            assert_close(found, expected, 1e-12, "solution");
        }
    }
}
