//! Hard-impute: truncated singular value decomposition of the residuals of mean plus offset.
//!
//! ```text
//! residuals r, missing where zero or hidden; Z = 0
//!   -> X = r where observed, Z elsewhere -> Z = the rank-k truncated SVD of X -> again
//! ```
//!
//! Mazumder, Hastie and Tibshirani (2010), JMLR 11:2287, section 6. `X` is a sparse matrix plus one
//! of rank k, and its leading subspace moves little from one turn to the next, so each turn takes a
//! step of block power iteration from the last one: the fixed points are those of the exact SVD, and
//! a turn costs `O(n_observed * k)`.

use super::MeanOffset;
use crate::Incomplete;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// The turns end when `Z` changes by less than this, relative to its size, or after so many: samples
/// with a few entries would be fitted exactly in the end, and what is left out only grows from 0.
const DEFAULT: Stop = Stop {
    max_turns: 30,
    relative_change: 1e-3,
};
/// Key of the starting subspace: part of the method's definition.
const SEED: u64 = 0x0005_7D00;

#[derive(Clone, Copy)]
struct Stop {
    max_turns: usize,
    relative_change: f64,
}

/// `A B'`, of residuals; rows of `rank` numbers, one per sample and one per taxon.
#[derive(Debug, PartialEq)]
pub(super) struct Truncated {
    a: Vec<Vec<f64>>,
    b: Vec<Vec<f64>>,
}

impl Truncated {
    /// One entry of the product.
    pub(super) fn at(&self, sample: usize, taxon: usize) -> f64 {
        dot(&self.a[sample], &self.b[taxon])
    }
}

/// Residuals of mean plus offset at every entry, of a rank of at most `rank`.
pub(super) fn residuals(table: &Incomplete, base: &MeanOffset, rank: usize) -> Truncated {
    let mut rows = vec![Vec::new(); table.n_samples()];
    for (sample, taxon, value) in table.observed() {
        rows[sample].push((taxon, value - base.predict(sample, taxon)));
    }
    hard_impute(&rows, table.n_taxa(), rank, DEFAULT)
}

/// Hard-impute of `(column, value)` lists, one per row.
fn hard_impute(rows: &[Vec<(usize, f64)>], n_columns: usize, rank: usize, stop: Stop) -> Truncated {
    let rank = rank.min(rows.len()).min(n_columns);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut b: Vec<Vec<f64>> = (0..n_columns)
        .map(|_| (0..rank).map(|_| StandardNormal.sample(&mut rng)).collect())
        .collect();
    orthonormalise(&mut b, rank);
    let mut z = Truncated {
        a: vec![vec![0.0; rank]; rows.len()],
        b,
    };
    for _ in 0..stop.max_turns {
        // X = S + A B' with S the observed entries less Z, kept as lists.
        let sparse: Vec<Vec<(usize, f64)>> = rows
            .par_iter()
            .enumerate()
            .map(|(i, row)| row.iter().map(|&(j, r)| (j, r - z.at(i, j))).collect())
            .collect();
        let y = times(&sparse, &z, &z.b);
        let mut b = transposed_times(&sparse, &z, &y);
        orthonormalise(&mut b, rank);
        let a = times(&sparse, &z, &b);
        let next = Truncated { a, b };
        let (change, size) = difference(&next, &z);
        z = next;
        if change <= stop.relative_change.powi(2) * size {
            break;
        }
    }
    z
}

/// `(S + A B') M`, one row per row of `S`.
fn times(sparse: &[Vec<(usize, f64)>], z: &Truncated, m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let inner = gram(&z.b, m); // B' M
    sparse
        .par_iter()
        .zip(&z.a)
        .map(|(row, a)| {
            let mut out = row_times(a, &inner);
            for &(j, value) in row {
                add(&mut out, value, &m[j]);
            }
            out
        })
        .collect()
}

/// `(S + A B')' M`, one row per column of `S`.
fn transposed_times(sparse: &[Vec<(usize, f64)>], z: &Truncated, m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let inner = gram(&z.a, m); // A' M
    let mut out: Vec<Vec<f64>> = z.b.iter().map(|b| row_times(b, &inner)).collect();
    for (row, m) in sparse.iter().zip(m) {
        for &(j, value) in row {
            add(&mut out[j], value, m);
        }
    }
    out
}

/// Squared Frobenius norms of `next - last` and of `next`, from the factors.
fn difference(next: &Truncated, last: &Truncated) -> (f64, f64) {
    let inner = |x: &Truncated, y: &Truncated| -> f64 {
        let (a, b) = (gram(&x.a, &y.a), gram(&x.b, &y.b));
        a.iter().zip(&b).map(|(a, b)| dot(a, b)).sum()
    };
    let size = inner(next, next);
    (size - 2.0 * inner(next, last) + inner(last, last), size)
}

/// `L' M`, `[rank, rank]`.
fn gram(l: &[Vec<f64>], m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let rank = l.first().map_or(0, Vec::len);
    let mut out = vec![vec![0.0; rank]; rank];
    for (l, m) in l.iter().zip(m) {
        for (out, &l) in out.iter_mut().zip(l) {
            add(out, l, m);
        }
    }
    out
}

fn row_times(row: &[f64], matrix: &[Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; row.len()];
    for (&value, other) in row.iter().zip(matrix) {
        add(&mut out, value, other);
    }
    out
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += factor * what;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Makes the columns orthonormal, one after the other and twice over against rounding. A column
/// that depends on those before it becomes 0.
pub(super) fn orthonormalise(m: &mut [Vec<f64>], rank: usize) {
    const SAME: f64 = 1e-10;
    for column in 0..rank {
        let norm = |m: &[Vec<f64>]| m.iter().map(|row| row[column].powi(2)).sum::<f64>().sqrt();
        let before = norm(m);
        for _ in 0..2 {
            for earlier in 0..column {
                let along: f64 = m.iter().map(|row| row[earlier] * row[column]).sum();
                for row in m.iter_mut() {
                    row[column] -= along * row[earlier];
                }
            }
        }
        let after = norm(m);
        let scale = if after > SAME * before {
            after.recip()
        } else {
            0.0
        };
        for row in m.iter_mut() {
            row[column] *= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix};

    #[test]
    fn the_fixed_point_is_that_of_exact_truncated_decompositions() {
        let golden = load("hard_impute");
        let values = matrix(&golden["values"]);
        let mut rows = vec![Vec::new(); values.nrows()];
        for ((i, j), &value) in values.indexed_iter().filter(|(_, v)| !v.is_nan()) {
            rows[i].push((j, value));
        }
        let stop = Stop {
            max_turns: 100_000,
            relative_change: 1e-12,
        };
        for rank in [1, 2] {
            let expected = matrix(&golden["expected"][rank - 1]);
            let found = hard_impute(&rows, values.ncols(), rank, stop);
            for (at, value) in expected.indexed_iter() {
                let what = format!("rank {rank} {at:?}");
                assert_close(found.at(at.0, at.1), *value, 1e-6, &what);
            }
        }
    }

    #[test]
    fn columns_become_orthonormal_and_dependent_ones_zero() {
        let mut m = vec![
            vec![1.0, 2.0, 1.0],
            vec![2.0, 4.0, 0.0],
            vec![2.0, 4.0, 0.0],
        ];
        orthonormalise(&mut m, 3);
        let g = gram(&m, &m);
        for (p, row) in g.iter().enumerate() {
            for (q, &value) in row.iter().enumerate() {
                let expected = if p == q && p != 1 { 1.0 } else { 0.0 };
                assert_close(value, expected, 1e-12, &format!("{p} {q}"));
            }
        }
    }
}
