//! Linear regressions of each taxon's presence on the other taxa.
//!
//! ```text
//! X: what is seen, columns centred; y_j: true presence of taxon j, centred; R: all columns but j's own
//! (X_R'X_R + penalty) beta_j = X_R'y_j
//! ```
//!
//! All taxa are solved from one inverse `P = (X'X + penalty)^-1`: with `S` the columns of `j` and `v = P
//! X'y_j` of which the part of `S` in `X'y_j` was set to 0, `beta_j = v_R - P_RS P_SS^-1 v_S`.

use super::samples::{Problem, View};
use crate::least_squares::solve_positive_definite;
use ndarray::{Array1, Array2, Axis, s};
use rayon::prelude::*;

/// Columns of the largest regression; of more, those of most variance are taken.
const MAX_COLUMNS: usize = 1500;
/// Residuals are scaled to this standard deviation, that of presence at a prevalence of 6 or 94 %.
const SD_OF_RESIDUALS: f64 = 0.25;
/// Penalty of the regressions on a few partners, per training row.
const LITTLE: f64 = 1e-3;

/// Products of the features with each other and with the true presence.
pub(super) struct Products {
    /// Taxon of each column.
    taxon: Vec<usize>,
    /// `X'X`, `[columns, columns]`.
    gram: Array2<f64>,
    /// `X'Y`, `[columns, taxa]`.
    with_truth: Array2<f64>,
    /// Features of the rows asked about, centred as the training rows are.
    asked: Array2<f64>,
    /// Mean true presence.
    means: Array1<f64>,
    n_rows: f64,
}

impl Products {
    /// Features: what is seen of the presence of the usable taxa.
    pub(super) fn of_presence(problem: &Problem) -> Products {
        let usable = |taxon: &usize| problem.is_usable[*taxon];
        let taxa: Vec<usize> = (0..problem.n_taxa()).filter(usable).collect();
        let of = |view: &View| view.present.select(Axis(1), &taxa);
        Products::new(problem, taxa.clone(), of(&problem.seen), of(&problem.asked))
    }

    /// Features: presence and residuals of the usable taxa.
    pub(super) fn of_all(problem: &Problem) -> Products {
        let usable = |taxon: &usize| problem.is_usable[*taxon];
        let taxa: Vec<usize> = (0..problem.n_taxa()).filter(usable).collect();
        let residuals = &problem.seen.residual;
        let square = residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len().max(1) as f64;
        let scale = match square > 0.0 {
            true => SD_OF_RESIDUALS / square.sqrt(),
            false => 0.0,
        };
        let of = |view: &View| -> Array2<f64> {
            let mut all = Array2::zeros((view.present.nrows(), 2 * taxa.len()));
            let present = view.present.select(Axis(1), &taxa);
            all.slice_mut(s![.., ..taxa.len()]).assign(&present);
            let residual = view.residual.select(Axis(1), &taxa) * scale;
            all.slice_mut(s![.., taxa.len()..]).assign(&residual);
            all
        };
        let columns = [&taxa[..], &taxa[..]].concat();
        Products::new(problem, columns, of(&problem.seen), of(&problem.asked))
    }

    fn new(
        problem: &Problem,
        mut taxon: Vec<usize>,
        mut seen: Array2<f64>,
        mut asked: Array2<f64>,
    ) -> Products {
        for (mut seen, mut asked) in seen.columns_mut().into_iter().zip(asked.columns_mut()) {
            let mean = seen.mean().unwrap_or(0.0);
            seen -= mean;
            asked -= mean;
        }
        if taxon.len() > MAX_COLUMNS {
            let variance = |k: &usize| seen.column(*k).dot(&seen.column(*k));
            let mut order: Vec<usize> = (0..taxon.len()).collect();
            order.sort_by(|a, b| variance(b).total_cmp(&variance(a)).then(a.cmp(b)));
            order.truncate(MAX_COLUMNS);
            order.sort_unstable();
            taxon = order.iter().map(|k| taxon[*k]).collect();
            seen = seen.select(Axis(1), &order);
            asked = asked.select(Axis(1), &order);
        }
        let means = problem
            .truth
            .mean_axis(Axis(0))
            .expect("there is a row to learn from");
        let truth = &problem.truth - &means;
        Products {
            taxon,
            gram: seen.t().dot(&seen),
            with_truth: seen.t().dot(&truth),
            asked,
            means,
            n_rows: truth.nrows() as f64,
        }
    }

    /// - `penalty`: of the squared coefficients, per training row
    pub(super) fn ridge(&self, problem: &Problem, penalty: f64) -> Array2<f64> {
        let n = self.taxon.len();
        let mut own = vec![Vec::new(); problem.n_taxa()];
        for (column, taxon) in self.taxon.iter().enumerate() {
            own[*taxon].push(column);
        }
        let mut right = self.with_truth.clone();
        for (taxon, own) in own.iter().enumerate() {
            own.iter().for_each(|column| right[[*column, taxon]] = 0.0);
        }
        let mut gram = self.gram.clone();
        gram.diag_mut()
            .iter_mut()
            .for_each(|d| *d += penalty * self.n_rows);
        let inverse = inverse(gram);
        let mut beta = inverse.dot(&right); // [columns, taxa]
        for (taxon, own) in own.iter().enumerate() {
            let mut square =
                Array2::from_shape_fn((own.len(), own.len()), |(a, b)| inverse[[own[a], own[b]]]);
            let mut rest: Vec<f64> = own.iter().map(|column| beta[[*column, taxon]]).collect();
            solve_positive_definite(&mut square, &mut rest);
            for (column, weight) in own.iter().zip(rest) {
                for row in 0..n {
                    beta[[row, taxon]] -= inverse[[row, *column]] * weight;
                }
            }
            own.iter().for_each(|column| beta[[*column, taxon]] = 0.0);
        }
        self.asked.dot(&beta) + &self.means
    }

    /// Each taxon on the `n` columns of other taxa that are most correlated with it.
    pub(super) fn partners(&self, problem: &Problem, n: usize) -> Array2<f64> {
        let columns: Vec<Vec<f64>> = (0..problem.n_taxa())
            .into_par_iter()
            .map(|taxon| {
                let strength = |k: usize| {
                    self.with_truth[[k, taxon]].powi(2) / (self.gram[[k, k]] + LITTLE * self.n_rows)
                };
                let mut others: Vec<(f64, usize)> = (0..self.taxon.len())
                    .filter(|k| self.taxon[*k] != taxon)
                    .map(|k| (strength(k), k))
                    .collect();
                others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                others.truncate(n);
                let mut square = Array2::from_shape_fn((others.len(), others.len()), |(a, b)| {
                    let extra = if a == b { LITTLE * self.n_rows } else { 0.0 };
                    self.gram[[others[a].1, others[b].1]] + extra
                });
                let mut beta: Vec<f64> = others
                    .iter()
                    .map(|(_, k)| self.with_truth[[*k, taxon]])
                    .collect();
                solve_positive_definite(&mut square, &mut beta);
                let of_row = |row: ndarray::ArrayView1<f64>| {
                    let parts = others
                        .iter()
                        .zip(&beta)
                        .map(|((_, k), beta)| row[*k] * beta);
                    self.means[taxon] + parts.sum::<f64>()
                };
                self.asked.rows().into_iter().map(of_row).collect()
            })
            .collect();
        Array2::from_shape_fn((self.asked.nrows(), columns.len()), |(row, taxon)| {
            columns[taxon][row]
        })
    }
}

/// The inverse of a positive definite matrix, by Cholesky: `A = L L'`, `A^-1 = L^-T L^-1`.
fn inverse(mut a: Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    for i in 0..n {
        let (above, mut rest) = a.view_mut().split_at(Axis(0), i);
        let mut row = rest.row_mut(0);
        for j in 0..i {
            let earlier = row.slice(s![..j]).dot(&above.slice(s![j, ..j]));
            row[j] = (row[j] - earlier) / above[[j, j]];
        }
        let earlier = row.slice(s![..i]).dot(&row.slice(s![..i]));
        row[i] = (row[i] - earlier).sqrt();
    }
    // Column j of L^-1, kept as row j of the upper triangle: rows are read in order.
    let columns: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|j| {
            let mut x = vec![0.0; n];
            x[j] = 1.0 / a[[j, j]];
            for i in j + 1..n {
                let row = a.slice(s![i, j..i]);
                let earlier: f64 = row.iter().zip(&x[j..i]).map(|(l, x)| l * x).sum();
                x[i] = -earlier / a[[i, i]];
            }
            x
        })
        .collect();
    let transposed = Array2::from_shape_fn((n, n), |(j, i)| columns[j][i]);
    transposed.dot(&transposed.t())
}

#[cfg(test)]
pub(super) fn inverse_for_tests(a: Array2<f64>) -> Array2<f64> {
    inverse(a)
}
