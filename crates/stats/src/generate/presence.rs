//! Which taxa a sample has: a thresholded normal vector, given how rich the sample is.
//!
//! ```text
//! P(taxon j in sample i) = Phi(theta_j + eta_i)      presence_ij = [theta_j + eta_i + z_ij > 0]
//! ```
//!
//! `theta` and `eta` are those for which the expected number of samples per taxon and of taxa per sample
//! are the given ones. MIDASim then takes for the correlation of `z` the tetrachoric correlations of the
//! table. Those hold what `eta` already says (two taxa are together in rich samples), and the richness of
//! samples drawn so is spread too widely. Here the correlation of a pair is the one for which the expected
//! covariance of the two presences, *with* the samples' `eta`, is that of the table.

use super::copula::{Factor, Repair};
use super::normal::{cdf, density, pair_cdf, pair_density};
use super::rising_root;
use ndarray::{Array1, Array2};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Thresholds and the factor of the residual correlation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Presence {
    /// Of each taxon: infinite for one that all or no samples have.
    theta: Vec<f64>,
    /// Taxa that some samples have and some have not.
    variable: Vec<usize>,
    factor: Factor,
}

/// Samples that expect the same number of taxa.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    /// Expected number of taxa.
    pub(super) n_taxa: f64,
    /// Number of samples.
    pub(super) n_samples: f64,
}

/// Limits of a threshold: `Phi` is 0 or 1 to double precision.
const LIMIT: f64 = 12.0;
/// Sums are kept this far from impossible ones, where a threshold would be infinite.
const MARGIN: f64 = 0.25;
/// Turns of solving rows and columns; they end when no threshold moves by 1e-7.
const MAX_TURNS: usize = 300;
/// Groups of samples of similar `eta` over which probabilities of pairs are averaged.
const N_GROUPS: usize = 8;
/// Largest size of a correlation.
const MAX_CORRELATION: f64 = 0.98;

impl Presence {
    /// - `present`: `[n_samples, n_taxa]`, 0 or 1
    /// - `n_expected`: per taxon, samples expected to have it
    /// - `levels`, `level_of`: the levels, and that of each sample
    /// - returns the model and `eta` of each level
    pub(super) fn fit(
        present: &Array2<f64>,
        n_expected: &[f64],
        levels: &[Level],
        level_of: &[usize],
    ) -> (Presence, Vec<f64>) {
        let n = present.nrows() as f64;
        let variable: Vec<usize> = (0..present.ncols())
            .filter(|j| {
                let found = present.column(*j).sum();
                found > 0.0 && found < n
            })
            .collect();
        let mut theta: Vec<f64> = present
            .columns()
            .into_iter()
            .map(|column| match column.sum() {
                0.0 => f64::NEG_INFINITY,
                _ => f64::INFINITY,
            })
            .collect();
        let n_always = theta.iter().filter(|t| **t == f64::INFINITY).count() - variable.len();
        let sums = Sums {
            of_taxa: variable
                .iter()
                .map(|j| n_expected[*j].clamp(MARGIN, n - MARGIN))
                .collect(),
            of_levels: levels
                .iter()
                .map(|level| level.n_taxa - n_always as f64)
                .map(|sum| sum.clamp(MARGIN, (variable.len() as f64 - MARGIN).max(MARGIN)))
                .collect(),
            n_samples: levels.iter().map(|level| level.n_samples).collect(),
        };
        let (of_variable, eta) = sums.solve();
        let probability = Array2::from_shape_fn((levels.len(), variable.len()), |(l, j)| {
            cdf(of_variable[j] + eta[l])
        });
        let correlation = residual_correlation(&Pairs {
            observed: covariance(&present.select(ndarray::Axis(1), &variable), None),
            expected: covariance(&probability, Some(&sums.n_samples)),
            theta: &of_variable,
            groups: groups(&eta, level_of),
        });
        for (j, value) in variable.iter().zip(of_variable) {
            theta[*j] = value;
        }
        let factor = Factor::of(&correlation, Repair::Clip);
        let model = Presence {
            theta,
            variable,
            factor,
        };
        (model, eta)
    }

    /// The `eta` of a sample that expects `n_taxa` taxa.
    pub(super) fn eta(&self, n_taxa: f64) -> f64 {
        let n_always = self.theta.iter().filter(|t| **t == f64::INFINITY).count();
        let theta: Vec<f64> = self.variable.iter().map(|j| self.theta[*j]).collect();
        let most = (theta.len() as f64 - MARGIN).max(MARGIN);
        let sum = (n_taxa - n_always as f64).clamp(MARGIN, most);
        solve_one(sum, 0.0, theta.iter().map(|theta| (*theta, 1.0)))
    }

    /// Says which taxa a sample has: at least one, if the table had any.
    pub(super) fn draw(&self, eta: f64, rng: &mut ChaCha8Rng) -> Vec<bool> {
        let mut is_present: Vec<bool> = self.theta.iter().map(|t| *t == f64::INFINITY).collect();
        let z = self.factor.draw(rng);
        let mut nearest: Option<(f64, usize)> = None;
        for (j, z) in self.variable.iter().zip(&z) {
            let latent = self.theta[*j] + eta + z;
            is_present[*j] = latent > 0.0;
            if nearest.is_none_or(|(most, _)| latent > most) {
                nearest = Some((latent, *j));
            }
        }
        if let Some((_, j)) = nearest
            && is_present.iter().all(|is_present| !is_present)
        {
            is_present[j] = true;
        }
        is_present
    }
}

/// What the probabilities must sum to.
struct Sums {
    of_taxa: Vec<f64>,
    of_levels: Vec<f64>,
    n_samples: Vec<f64>,
}

impl Sums {
    /// `theta` and `eta`, solved in turns; the sums of taxa are exact at the end.
    fn solve(&self) -> (Vec<f64>, Vec<f64>) {
        let mut theta = vec![0.0; self.of_taxa.len()];
        let mut eta = vec![0.0; self.of_levels.len()];
        for _ in 0..MAX_TURNS {
            let new_eta: Vec<f64> = self
                .of_levels
                .par_iter()
                .zip(&eta)
                .map(|(sum, start)| solve_one(*sum, *start, theta.iter().map(|t| (*t, 1.0))))
                .collect();
            let weighted = || new_eta.iter().copied().zip(self.n_samples.iter().copied());
            let new_theta: Vec<f64> = self
                .of_taxa
                .par_iter()
                .zip(&theta)
                .map(|(sum, start)| solve_one(*sum, *start, weighted()))
                .collect();
            let moved = theta
                .iter()
                .zip(&new_theta)
                .chain(eta.iter().zip(&new_eta))
                .map(|(old, new)| (old - new).abs())
                .fold(0.0, f64::max);
            (theta, eta) = (new_theta, new_eta);
            if moved < 1e-7 {
                break;
            }
        }
        (theta, eta)
    }
}

/// The `x` with `sum weight Phi(x + shift) = sum`.
fn solve_one(sum: f64, start: f64, terms: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    rising_root((-LIMIT, LIMIT), start, |x| {
        let (mut value, mut slope) = (-sum, 0.0);
        for (shift, weight) in terms.clone() {
            value += weight * cdf(x + shift);
            slope += weight * density(x + shift);
        }
        (value, slope)
    })
}

/// Covariances of the columns of a matrix whose rows count `weights` times.
fn covariance(rows: &Array2<f64>, weights: Option<&Vec<f64>>) -> Array2<f64> {
    let weights: Array1<f64> = match weights {
        Some(weights) => weights.iter().copied().collect(),
        None => Array1::ones(rows.nrows()),
    };
    let total = weights.sum();
    let means = rows.t().dot(&weights) / total;
    let mut scaled = rows - &means;
    for (mut row, weight) in scaled.rows_mut().into_iter().zip(&weights) {
        row.mapv_inplace(|x| x * (weight / total).sqrt());
    }
    scaled.t().dot(&scaled)
}

/// Samples of similar `eta`: their mean and their share.
fn groups(eta: &[f64], level_of: &[usize]) -> Vec<(f64, f64)> {
    let mut all: Vec<f64> = level_of.iter().map(|level| eta[*level]).collect();
    all.sort_by(f64::total_cmp);
    let size = all.len().div_ceil(N_GROUPS).max(1);
    let n = all.len() as f64;
    all.chunks(size)
        .map(|group| {
            let share = group.len() as f64 / n;
            (group.iter().sum::<f64>() / group.len() as f64, share)
        })
        .collect()
}

struct Pairs<'a> {
    /// Covariance of presences in the table.
    observed: Array2<f64>,
    /// Covariance of their probabilities over samples.
    expected: Array2<f64>,
    theta: &'a [f64],
    groups: Vec<(f64, f64)>,
}

/// The correlation of each pair for which the covariance of presences is that observed.
fn residual_correlation(pairs: &Pairs<'_>) -> Array2<f64> {
    let n = pairs.theta.len();
    let below: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|j| (0..j).map(|k| pairs.correlation(j, k)).collect())
        .collect();
    let mut correlation = Array2::eye(n);
    for (j, row) in below.iter().enumerate() {
        for (k, rho) in row.iter().enumerate() {
            correlation[[j, k]] = *rho;
            correlation[[k, j]] = *rho;
        }
    }
    correlation
}

impl Pairs<'_> {
    fn correlation(&self, j: usize, k: usize) -> f64 {
        let target = self.observed[[j, k]] - self.expected[[j, k]];
        let at = |eta: f64| (self.theta[j] + eta, self.theta[k] + eta);
        let independent: f64 = self
            .groups
            .iter()
            .map(|(eta, share)| {
                let (x, y) = at(*eta);
                share * cdf(x) * cdf(y)
            })
            .sum();
        let ends = (-MAX_CORRELATION, MAX_CORRELATION);
        rising_root(ends, 0.0, |rho| {
            let (mut value, mut slope) = (-target - independent, 0.0);
            for (eta, share) in &self.groups {
                let (x, y) = at(*eta);
                value += share * pair_cdf(x, y, rho);
                slope += share * pair_density(x, y, rho);
            }
            // Differences below what 1e-9 samples would make are none.
            if value.abs() < 1e-9 {
                (0.0, slope)
            } else {
                (value, slope)
            }
        })
    }
}
