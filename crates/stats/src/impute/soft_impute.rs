//! Soft-impute: nuclear-norm completion of the residuals of taxon mean plus sample offset.
//!
//! ```text
//! observed entries - (mean + offset) -> residuals, missing where zero or hidden
//!   -> min over Z of 1/2 * sum over observed (r - z)^2 + lambda * (nuclear norm of Z)
//!   -> lambda from a falling path, by the error on 10 % of the observed entries held out
//! ```
//!
//! Mazumder, Hastie and Tibshirani (2010), JMLR 11:2287. The problem is solved in its factored
//! form, `Z = A B'` with penalty `lambda / 2 * (|A|^2 + |B|^2)`, by alternating ridge regressions
//! (Hastie et al. 2015, JMLR 16:3367): it has the same minimum when the factors are wide enough,
//! and a step costs `O(n_observed * RANK^2)` however sparse the table is.

use super::MeanOffset;
use crate::Incomplete;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::ops::ControlFlow;

/// Width of the factors, the largest rank of a completion.
const RANK: usize = 16;
/// Each lambda of the path is this times the one before; the first is just below the smallest
/// one that makes everything 0.
const PATH_STEP: f64 = 0.7;
/// Lambdas on the path: the last is `0.7^15`, half a percent of the smallest that gives 0.
const PATH_LENGTH: usize = 15;
/// The path ends when the held-out error has not fallen for so many lambdas.
const PATIENCE: usize = 2;
/// One in so many observed entries is held out to choose lambda.
const HOLD_OUT: usize = 10;
/// Fewer observed entries than this do not tell one lambda from another: residuals stay 0.
const MIN_OBSERVED: usize = 30;
/// When the alternations for one lambda end while lambda is being chosen, and in the final fit.
const ON_PATH: Stop = Stop {
    max_alternations: 30,
    relative_change: 1e-3,
};
const FINAL: Stop = Stop {
    max_alternations: 60,
    relative_change: 1e-4,
};
/// Size of the seeded noise added to a warm start, in units of `sqrt(lambda)` per column.
const RESTART: f64 = 0.1;
/// Key of the hold-out draw and of the starting factors: part of the method's definition.
const SEED: u64 = 0x0050_F71A;

/// Alternations end at `max_alternations`, or when `b` changes by less than `relative_change`.
#[derive(Clone, Copy)]
struct Stop {
    max_alternations: usize,
    relative_change: f64,
}

/// One row of a factor.
type Row = [f64; RANK];

/// A low-rank matrix `A B'` of residuals, `[n_samples, n_taxa]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LowRank {
    a: Vec<Row>, // one per sample
    b: Vec<Row>, // one per taxon
}

impl LowRank {
    fn zeros(n_samples: usize, n_taxa: usize) -> Self {
        LowRank {
            a: vec![[0.0; RANK]; n_samples],
            b: vec![[0.0; RANK]; n_taxa],
        }
    }

    /// One entry of the product.
    pub(super) fn at(&self, sample: usize, taxon: usize) -> f64 {
        self.a[sample]
            .iter()
            .zip(&self.b[taxon])
            .map(|(a, b)| a * b)
            .sum()
    }
}

/// Residuals of mean plus offset at every entry, 0 where the held-out error finds no gain in more.
pub(super) fn residuals(table: &Incomplete) -> LowRank {
    let nothing = LowRank::zeros(table.n_samples(), table.n_taxa());
    let mut entries: Vec<(usize, usize)> = table
        .observed()
        .map(|(sample, taxon, _)| (sample, taxon))
        .collect();
    if entries.len() < MIN_OBSERVED {
        return nothing;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    entries.shuffle(&mut rng);
    entries.truncate(entries.len() / HOLD_OUT);

    let seen = table.hide_more(&entries);
    let base = MeanOffset::fit(&seen);
    let error = |residual: &LowRank| -> f64 {
        let squared = |&(sample, taxon): &(usize, usize)| {
            (table.values[[sample, taxon]]
                - base.predict(sample, taxon)
                - residual.at(sample, taxon))
            .powi(2)
        };
        entries.iter().map(squared).sum()
    };

    let mut best = (error(&nothing), None);
    let mut n_worse = 0;
    for_each_lambda(&seen, &base, &mut rng, |lambda, solution| {
        let found = error(solution);
        if found < best.0 {
            best = (found, Some((lambda, solution.clone())));
            n_worse = 0;
        } else {
            n_worse += 1;
        }
        if n_worse == PATIENCE {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let Some((lambda, mut solution)) = best.1 else {
        return nothing;
    };
    // The chosen lambda on all observed entries, from the solution without the held-out ones.
    Problem::new(table, &MeanOffset::fit(table)).solve(lambda, FINAL, &mut solution);
    solution
}

/// Shows the solution for each lambda of the path, from the largest on.
pub(super) fn walk(table: &Incomplete, mut show: impl FnMut(f64, &LowRank)) {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let base = MeanOffset::fit(table);
    for_each_lambda(table, &base, &mut rng, |lambda, solution| {
        show(lambda, solution);
        ControlFlow::Continue(())
    });
}

/// Residuals of mean plus offset for one lambda, found along the path.
pub(super) fn residuals_at(table: &Incomplete, target: f64) -> LowRank {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let base = MeanOffset::fit(table);
    let mut last = LowRank::zeros(table.n_samples(), table.n_taxa());
    for_each_lambda(table, &base, &mut rng, |lambda, solution| {
        last = solution.clone();
        if lambda <= target {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    Problem::new(table, &base).solve(target, FINAL, &mut last);
    last
}

/// Solves for one lambda after the other, each from the solution of the one before.
fn for_each_lambda(
    table: &Incomplete,
    base: &MeanOffset,
    rng: &mut ChaCha8Rng,
    mut show: impl FnMut(f64, &LowRank) -> ControlFlow<()>,
) {
    let problem = Problem::new(table, base);
    let mut lambda = problem.largest_singular_value(rng);
    let mut solution = LowRank::zeros(table.n_samples(), table.n_taxa());
    // Residuals that are all 0 have lambda 0: nothing is left to explain.
    for _ in 0..if lambda > 0.0 { PATH_LENGTH } else { 0 } {
        lambda *= PATH_STEP;
        // A component that a larger lambda switched off can only grow from a start other than 0.
        let scale = RESTART * (lambda / table.n_taxa() as f64).sqrt();
        for value in solution.b.iter_mut().flatten() {
            let noise: f64 = StandardNormal.sample(rng);
            *value += scale * noise;
        }
        problem.solve(lambda, ON_PATH, &mut solution);
        if show(lambda, &solution).is_break() {
            break;
        }
    }
}

/// Observed residuals, listed both ways.
struct Problem {
    by_sample: Vec<Vec<(usize, f64)>>,
    by_taxon: Vec<Vec<(usize, f64)>>,
}

impl Problem {
    fn new(table: &Incomplete, base: &MeanOffset) -> Self {
        let mut problem = Problem {
            by_sample: vec![Vec::new(); table.n_samples()],
            by_taxon: vec![Vec::new(); table.n_taxa()],
        };
        for (sample, taxon, value) in table.observed() {
            let residual = value - base.predict(sample, taxon);
            problem.by_sample[sample].push((taxon, residual));
            problem.by_taxon[taxon].push((sample, residual));
        }
        problem
    }

    /// Alternating ridge regressions from the given `b` until `b` settles.
    fn solve(&self, lambda: f64, stop: Stop, solution: &mut LowRank) {
        for _ in 0..stop.max_alternations {
            solution.a = ridge_rows(&self.by_sample, &solution.b, lambda);
            let b = ridge_rows(&self.by_taxon, &solution.a, lambda);
            let pairs = || b.iter().flatten().zip(solution.b.iter().flatten());
            let change: f64 = pairs().map(|(new, old)| (new - old).powi(2)).sum();
            let size: f64 = b.iter().flatten().map(|value| value * value).sum();
            solution.b = b;
            if change <= stop.relative_change.powi(2) * size {
                break;
            }
        }
        solution.a = ridge_rows(&self.by_sample, &solution.b, lambda);
    }

    /// Of the residuals with 0 where nothing is observed, by power iteration; accurate to a few
    /// percent, which is enough to start a path.
    fn largest_singular_value(&self, rng: &mut ChaCha8Rng) -> f64 {
        const N_ITERATIONS: usize = 30;
        let mut v: Vec<f64> = (0..self.by_taxon.len())
            .map(|_| StandardNormal.sample(rng))
            .collect();
        let mut norm = 0.0;
        for _ in 0..N_ITERATIONS {
            let apply = |rows: &[Vec<(usize, f64)>], x: &[f64]| -> Vec<f64> {
                rows.iter()
                    .map(|row| row.iter().map(|(at, value)| value * x[*at]).sum())
                    .collect()
            };
            let u = apply(&self.by_sample, &v);
            let w = apply(&self.by_taxon, &u);
            norm = w.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm == 0.0 {
                return 0.0;
            }
            v = w.iter().map(|x| x / norm).collect();
        }
        // `norm` is the largest eigenvalue of the Gram matrix.
        norm.sqrt()
    }
}

/// For each row of observations, the ridge regression on the matching rows of `factor`; zeros for a
/// row without observations.
fn ridge_rows(rows: &[Vec<(usize, f64)>], factor: &[Row], lambda: f64) -> Vec<Row> {
    rows.par_iter()
        .map(|row| {
            let mut gram = [[0.0; RANK]; RANK];
            let mut right = [0.0; RANK];
            for &(at, value) in row {
                let f = &factor[at];
                for p in 0..RANK {
                    right[p] += f[p] * value;
                    // The whole row, not the triangle: constant bounds make it vector instructions.
                    for q in 0..RANK {
                        gram[p][q] += f[p] * f[q];
                    }
                }
            }
            for (p, gram_row) in gram.iter_mut().enumerate() {
                gram_row[p] += lambda;
            }
            solve_positive_definite(&mut gram, &mut right);
            right
        })
        .collect()
}

/// Solves `G x = r` by Cholesky; the lower triangle of `G` is overwritten, `x` comes in `r`.
fn solve_positive_definite(gram: &mut [Row; RANK], right: &mut Row) {
    for i in 0..RANK {
        for j in 0..=i {
            let sum = gram[i][j]
                - gram[i][..j]
                    .iter()
                    .zip(&gram[j][..j])
                    .map(|(a, b)| a * b)
                    .sum::<f64>();
            // A ridge of lambda > 0 keeps the diagonal positive.
            gram[i][j] = if i == j { sum.sqrt() } else { sum / gram[j][j] };
        }
        for k in 0..i {
            right[i] -= gram[i][k] * right[k];
        }
        right[i] /= gram[i][i];
    }
    for i in (0..RANK).rev() {
        for k in i + 1..RANK {
            right[i] -= gram[k][i] * right[k];
        }
        right[i] /= gram[i][i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number};
    use ndarray::Array2;

    /// Problem and start whose observed entries are those of `values` that are not NaN.
    fn problem(values: &Array2<f64>) -> Problem {
        let (n_samples, n_taxa) = values.dim();
        let mut problem = Problem {
            by_sample: vec![Vec::new(); n_samples],
            by_taxon: vec![Vec::new(); n_taxa],
        };
        for ((i, j), &value) in values.indexed_iter().filter(|(_, v)| !v.is_nan()) {
            problem.by_sample[i].push((j, value));
            problem.by_taxon[j].push((i, value));
        }
        problem
    }

    #[test]
    fn the_factored_form_reaches_the_nuclear_norm_minimum_of_singular_value_thresholding() {
        let golden = load("soft_impute");
        let values = matrix(&golden["values"]);
        let problem = problem(&values);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (n, d) = values.dim();
        assert!(
            RANK >= n.min(d),
            "the factors must be wide enough for the equivalence"
        );
        let mut solution = LowRank::zeros(n, d);
        solution
            .b
            .iter_mut()
            .flatten()
            .for_each(|value| *value = StandardNormal.sample(&mut rng));
        problem.solve(
            number(&golden["lambda"]),
            Stop {
                max_alternations: 20_000,
                relative_change: 1e-9,
            },
            &mut solution,
        );
        let expected = matrix(&golden["expected"]);
        for (at, value) in expected.indexed_iter() {
            assert_close(solution.at(at.0, at.1), *value, 1e-5, &format!("{at:?}"));
        }
    }

    #[test]
    fn an_exact_low_rank_structure_is_found_again() {
        // Positive values with a rank-2 log structure on top of means and offsets; closed form.
        let truth = Array2::from_shape_fn((60, 20), |(i, j)| {
            let (i, j) = (i as f64, j as f64);
            5.0 + (0.7 * i).sin() * (1.3 * j).cos() + (0.31 * i).cos() * (0.9 * j).sin()
        });
        let hidden: Vec<(usize, usize)> = (0..60).map(|i| (i, (i * 7) % 20)).collect();
        let table = Incomplete::hide(&truth, &hidden).unwrap();
        let base = MeanOffset::fit(&table);
        let residual = residuals(&table);
        let error = |with: f64| -> f64 {
            let squared = |&(i, j): &(usize, usize)| {
                (truth[[i, j]] - base.predict(i, j) - with * residual.at(i, j)).powi(2)
            };
            (hidden.iter().map(squared).sum::<f64>() / hidden.len() as f64).sqrt()
        };
        assert!(
            error(1.0) < 0.1 * error(0.0),
            "{} against {}",
            error(1.0),
            error(0.0)
        );
    }

    #[test]
    fn pure_noise_is_left_alone_and_threads_do_not_matter() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let values = Array2::from_shape_simple_fn((50, 12), || {
            let noise: f64 = StandardNormal.sample(&mut rng);
            10.0 + noise
        });
        let table = Incomplete::from_values(values).unwrap();
        let with = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n)
                .build()
                .unwrap();
            pool.install(|| residuals(&table))
        };
        let one = with(1);
        assert_eq!(one, with(2));
        let entries = (0..50).flat_map(|i| (0..12).map(move |j| (i, j)));
        let largest = entries.map(|(i, j)| one.at(i, j).abs()).fold(0.0, f64::max);
        assert!(largest < 1.0, "{largest}");
    }
}
