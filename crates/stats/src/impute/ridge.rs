//! Chained ridge regressions: each taxon on the values and the presence of all others.
//!
//! ```text
//! residuals of mean + offset, hidden ones 0 -> per taxon: ridge over the samples that have it
//!   -> hidden residuals predicted by all taxa's regressions at once -> again, three sweeps
//! ```
//!
//! The scheme of MICE (van Buuren and Groothuis-Oudshoorn 2011) with ridge regressions and without
//! draws. A regression on taxon `j` has an intercept without penalty and two features per other
//! taxon: whether it is present (observed or hidden) and its residual, 0 where it is absent. Offsets
//! are those without `j`, as they will be where `j` is hidden. The regressions are solved by
//! preconditioned conjugate gradients on the list of present entries, so that a step costs
//! `O(entries of the samples that have j)`.

use super::MeanOffset;
use super::deviations::Deviations;
use crate::Incomplete;
use rayon::prelude::*;

/// Rounds in which the hidden residuals are predicted from those of the round before.
const N_SWEEPS: usize = 3;
/// When conjugate gradients end: the residual of the equations, relative to their right side.
const DEFAULT: Stop = Stop {
    max_steps: 200,
    relative_residual: 1e-3,
};

#[derive(Clone, Copy)]
struct Stop {
    max_steps: usize,
    relative_residual: f64,
}

/// Residuals of the hidden entries, in the order of [`Incomplete::hidden`].
///
/// - `penalty`: of the sum of squares of the coefficients, in squared units of the table
pub(super) fn residuals(table: &Incomplete, base: &MeanOffset, penalty: f64) -> Vec<f64> {
    chained(table, base, penalty, DEFAULT)
}

fn chained(table: &Incomplete, base: &MeanOffset, penalty: f64, stop: Stop) -> Vec<f64> {
    let deviations = Deviations::new(table, base);
    let hidden: Vec<(usize, usize)> = table.hidden().collect();
    let mut hidden_in = vec![Vec::new(); table.n_samples()];
    let mut hidden_of = vec![Vec::new(); table.n_taxa()];
    for (number, &(sample, taxon)) in hidden.iter().enumerate() {
        hidden_in[sample].push((taxon, number));
        hidden_of[taxon].push(number);
    }
    let mut estimates = vec![0.0; hidden.len()];
    let mut coefficients = vec![Vec::new(); table.n_taxa()];
    for _ in 0..N_SWEEPS {
        let samples = Samples {
            deviations: &deviations,
            hidden_in: &hidden_in,
            estimates: &estimates,
        };
        let predicted: Vec<Vec<f64>> = coefficients
            .par_iter_mut()
            .enumerate()
            .map(|(taxon, coefficients)| {
                if hidden_of[taxon].is_empty() {
                    return Vec::new();
                }
                if coefficients.is_empty() {
                    *coefficients = vec![0.0; 2 * table.n_taxa() + 1];
                }
                Equations::new(&samples, taxon, penalty).solve(stop, coefficients);
                hidden_of[taxon]
                    .iter()
                    .map(|&number| {
                        let sample = hidden[number].0;
                        let offset = base.sample_offset(sample);
                        let row = samples.features(sample, taxon, offset);
                        product(&row, coefficients)
                    })
                    .collect()
            })
            .collect();
        for (numbers, values) in hidden_of.iter().zip(predicted) {
            for (&number, value) in numbers.iter().zip(values) {
                estimates[number] = value;
            }
        }
    }
    estimates
}

/// The samples as a regression sees them.
struct Samples<'a> {
    deviations: &'a Deviations,
    /// `(taxon, number of the hidden entry)` per sample.
    hidden_in: &'a [Vec<(usize, usize)>],
    estimates: &'a [f64],
}

impl Samples<'_> {
    /// `(taxon, residual)` of the entries of a sample that are present, without one taxon.
    fn features(&self, sample: usize, without: usize, offset: f64) -> Vec<(usize, f64)> {
        let observed = self.deviations.by_sample[sample].iter();
        let hidden = self.hidden_in[sample].iter();
        observed
            .map(|&(taxon, deviation)| (taxon, deviation - offset))
            .chain(hidden.map(|&(taxon, number)| (taxon, self.estimates[number])))
            .filter(|(taxon, _)| *taxon != without)
            .collect()
    }
}

/// Coefficients times features: those of the residuals stand at `2 taxon`, those of presence at
/// `2 taxon + 1`, the intercept last.
fn product(row: &[(usize, f64)], coefficients: &[f64]) -> f64 {
    let mut sum = coefficients[coefficients.len() - 1];
    for &(taxon, value) in row {
        sum += value * coefficients[2 * taxon] + coefficients[2 * taxon + 1];
    }
    sum
}

/// `(X'X + penalty) beta = X'y` of one taxon, `X` as lists.
struct Equations {
    rows: Vec<Vec<(usize, f64)>>,
    targets: Vec<f64>,
    penalty: f64,
}

impl Equations {
    fn new(samples: &Samples<'_>, taxon: usize, penalty: f64) -> Self {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for &(sample, deviation) in &samples.deviations.by_taxon[taxon] {
            let offset = samples.deviations.offset_without(sample, deviation);
            rows.push(samples.features(sample, taxon, offset));
            targets.push(deviation - offset);
        }
        Equations {
            rows,
            targets,
            penalty,
        }
    }

    /// `X' weights`.
    fn transposed(&self, weights: &[f64], n: usize) -> Vec<f64> {
        let mut out = vec![0.0; n];
        for (row, weight) in self.rows.iter().zip(weights) {
            for &(taxon, value) in row {
                out[2 * taxon] += weight * value;
                out[2 * taxon + 1] += weight;
            }
            out[n - 1] += weight;
        }
        out
    }

    /// `(X'X + penalty) x`; the intercept has no penalty.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let n = x.len();
        let fitted: Vec<f64> = self.rows.iter().map(|row| product(row, x)).collect();
        let mut out = self.transposed(&fitted, n);
        for (out, x) in out[..n - 1].iter_mut().zip(x) {
            *out += self.penalty * x;
        }
        out
    }

    /// Improves `x` until the equations hold. With no row, `x` stays as it is.
    fn solve(&self, stop: Stop, x: &mut [f64]) {
        let n = x.len();
        let mut diagonal = vec![self.penalty; n];
        diagonal[n - 1] = self.rows.len() as f64;
        for &(taxon, value) in self.rows.iter().flatten() {
            diagonal[2 * taxon] += value * value;
            diagonal[2 * taxon + 1] += 1.0;
        }
        let right = self.transposed(&self.targets, n);
        let enough = stop.relative_residual.powi(2) * dot(&right, &right);
        let applied = self.apply(x);
        let mut rest: Vec<f64> = right.iter().zip(applied).map(|(r, a)| r - a).collect();
        let scaled =
            |rest: &[f64]| -> Vec<f64> { rest.iter().zip(&diagonal).map(|(r, d)| r / d).collect() };
        let mut size = dot(&rest, &rest);
        if self.rows.is_empty() || size <= enough {
            return;
        }
        let mut direction = scaled(&rest);
        let mut along = dot(&rest, &direction);
        for _ in 0..stop.max_steps {
            let applied = self.apply(&direction);
            let step = along / dot(&direction, &applied);
            for (((x, rest), d), a) in x.iter_mut().zip(&mut rest).zip(&direction).zip(&applied) {
                *x += step * d;
                *rest -= step * a;
            }
            size = dot(&rest, &rest);
            if size <= enough {
                break;
            }
            let next = scaled(&rest);
            let along_next = dot(&rest, &next);
            for (d, next) in direction.iter_mut().zip(&next) {
                *d = next + along_next / along * *d;
            }
            along = along_next;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number, vector};

    #[test]
    fn three_sweeps_are_those_of_scikit_learns_ridge() {
        let golden = load("imputers");
        let table = Incomplete::from_values(matrix(&golden["values"])).unwrap();
        let stop = Stop {
            max_steps: 1000,
            relative_residual: 1e-13,
        };
        let penalty = number(&golden["ridge_penalty"]);
        let found = chained(&table, &MeanOffset::fit(&table), penalty, stop);
        let expected = vector(&golden["ridge_residuals"]);
        assert_eq!(found.len(), expected.len());
        for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_close(*found, expected, 1e-9, &format!("hidden entry {number}"));
        }
    }
}
