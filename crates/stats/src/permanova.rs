//! PERMANOVA: do groups of samples lie around different centres?
//!
//! Anderson (2001), from squared distances alone. With `SS_T = sum_(i<j) d_ij^2 / n` and
//! `SS_W = sum_g sum_(i<j in g) d_ij^2 / n_g`:
//!
//! ```text
//! pseudo-F = (SS_T - SS_W) / (k - 1)  :  SS_W / (n - k)        R2 = (SS_T - SS_W) / SS_T
//! ```
//!
//! The p-value is the share of label vectors, the observed one among them, whose F is as large. `SS_W` of
//! a label vector is a sum of quadratic forms `x' D x` with `x` the members of a group, so a block of
//! permutations is one product of matrices.

use crate::differential::Permutations;
use crate::error::{Error, Result, check_finite, check_length};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Zip, s};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// How far groups are apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Permanova {
    /// Variance between groups over variance within, 1 on average where labels mean nothing.
    pub pseudo_f: f64,
    /// Share of the sum of squares that is between groups.
    pub r2: f64,
    /// Share of label vectors with an F as large; `NaN` without permutations.
    pub p: f64,
}

/// Label vectors in one product of matrices, and samples in one panel of it.
const BLOCK: usize = 128;

/// Permuted F within this share of the observed one (or of 1) count as equal: rounding alone parts them.
const TIE: f64 = 1e-9;

/// The smallest permuted F that counts as large as the observed one.
pub(crate) fn threshold(f: f64) -> f64 {
    if f.is_infinite() {
        return f; // nothing is left within the groups
    }
    f - TIE * f.abs().max(1.0)
}

/// Tests whether groups differ in location (or in spread, see [`crate::permdisp`]).
///
/// - `distances`: `[n, n]`, symmetric (not checked) with zeros on the diagonal
/// - `groups`: `[n]`, the group of each sample: 0, 1, ..., each with a member
/// - `permutations`: label vectors in random order; 999 is the custom, 0 gives no p-value
///
/// # Errors
/// A matrix that is not square or has an entry that is not finite; labels of another length; fewer than two
/// groups, a number without a sample, not more samples than groups.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::differential::Permutations;
/// use suffuse_stats::permanova::permanova;
/// let line = [0.0_f64, 1.0, 5.0, 6.0];
/// let distances = ndarray::Array2::from_shape_fn((4, 4), |(i, j)| (line[i] - line[j]).abs());
/// let found = permanova(&distances, &[0, 0, 1, 1], Permutations { n: 0, seed: 0 }).unwrap();
/// // As in an analysis of variance of 0, 1 | 5, 6: 25 between (1 df), 1 within (2 df).
/// assert!((found.pseudo_f - 50.0).abs() < 1e-12 && (found.r2 - 25.0 / 26.0).abs() < 1e-12);
/// ```
pub fn permanova(
    distances: &Array2<f64>,
    groups: &[usize],
    permutations: Permutations,
) -> Result<Permanova> {
    let squares = Squares::new(distances, check(distances, groups)?);
    let n = groups.len() as f64;
    let total = squares.sum / 2.0 / n;
    let f = |within: f64| {
        let n_groups = squares.sizes.len() as f64;
        (total - within) / (n_groups - 1.0) / (within / (n - n_groups))
    };
    let observed = squares.within(&[groups.to_vec()])[0];
    let pseudo_f = f(observed);
    let threshold = threshold(pseudo_f);
    let starts: Vec<usize> = (0..permutations.n).step_by(BLOCK).collect();
    let n_as_large: Vec<usize> = starts
        .into_par_iter()
        .map(|start| {
            let end = (start + BLOCK).min(permutations.n);
            let labels: Vec<Vec<usize>> = (start..end)
                .map(|k| shuffled(groups, permutations.seed, k as u64))
                .collect();
            let within = squares.within(&labels).into_iter();
            within.filter(|within| f(*within) >= threshold).count()
        })
        .collect();
    let n_as_large: usize = n_as_large.iter().sum();
    Ok(Permanova {
        pseudo_f,
        r2: (total - observed) / total,
        p: p_value(pseudo_f, n_as_large, permutations.n),
    })
}

/// The observed labels count as one of the vectors; `NaN` without permutations, or where `f` is.
pub(crate) fn p_value(f: f64, n_as_large: usize, n_permutations: usize) -> f64 {
    match n_permutations {
        0 => f64::NAN,
        _ if f.is_nan() => f64::NAN,
        n => (n_as_large as f64 + 1.0) / (n as f64 + 1.0),
    }
}

/// Values in the `k`-th random order of a seed.
pub(crate) fn shuffled<T: Clone>(values: &[T], seed: u64, k: u64) -> Vec<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(k);
    let mut values = values.to_vec();
    values.shuffle(&mut rng);
    values
}

/// Squared distances with what every label vector needs of them.
struct Squares {
    /// `[n, n]`
    matrix: Array2<f64>,
    row_sums: Array1<f64>,
    /// Of all entries.
    sum: f64,
    /// Samples per group.
    sizes: Vec<usize>,
}

impl Squares {
    fn new(distances: &Array2<f64>, sizes: Vec<usize>) -> Squares {
        let n = distances.nrows();
        let mut matrix = vec![0.0; n * n];
        let row_sums: Vec<f64> = matrix
            .par_chunks_exact_mut(n)
            .enumerate()
            .map(|(sample, squares)| {
                for (square, distance) in squares.iter_mut().zip(distances.row(sample)) {
                    *square = distance * distance;
                }
                squares.iter().sum()
            })
            .collect();
        let row_sums = Array1::from(row_sums);
        Squares {
            sum: row_sums.sum(),
            matrix: Array2::from_shape_vec((n, n), matrix).expect("n squares of n"),
            row_sums,
            sizes,
        }
    }

    /// The within-group sum of squares of each label vector.
    fn within(&self, labels: &[Vec<usize>]) -> Vec<f64> {
        let mut sums = vec![0.0; labels.len()];
        let mut add = |group: usize, forms: &[f64]| {
            for (sum, form) in sums.iter_mut().zip(forms) {
                *sum += form / 2.0 / self.sizes[group] as f64;
            }
        };
        let members_of = |group: usize| {
            // Looked up, not compared: a branch on random labels is mispredicted half of the time.
            let mut is_member = vec![0.0; self.sizes.len()];
            is_member[group] = 1.0;
            let mut members = Array2::zeros((labels.len(), self.row_sums.len()));
            for (mut row, labels) in members.outer_iter_mut().zip(labels) {
                for (entry, label) in row.iter_mut().zip(labels) {
                    *entry = is_member[*label];
                }
            }
            members
        };
        if self.sizes.len() == 2 {
            // The second group follows: (1 - x)' D (1 - x) = 1' D 1 - 2 1' D x + x' D x.
            let members = members_of(0);
            let forms = self.forms(&members);
            let crossed = members.dot(&self.row_sums); // [labels]
            let other = |(form, crossed): (&f64, &f64)| self.sum - 2.0 * crossed + form;
            let others: Vec<f64> = forms.iter().zip(&crossed).map(other).collect();
            add(0, &forms);
            add(1, &others);
        } else {
            for group in 0..self.sizes.len() {
                add(group, &self.forms(&members_of(group)));
            }
        }
        sums
    }

    /// `x' D x` of each row of `[labels, n]`. What stands below the diagonal of a symmetric matrix also stands
    /// right of it: it is multiplied once, panel by panel, and counted twice.
    fn forms(&self, members: &Array2<f64>) -> Vec<f64> {
        let n = self.row_sums.len();
        let mut forms = Array1::<f64>::zeros(members.nrows());
        let mut images = Array2::zeros((members.nrows(), BLOCK.min(n)));
        for start in (0..n).step_by(BLOCK) {
            let end = (start + BLOCK).min(n);
            let panel = members.slice(s![.., start..end]);
            let mut images = images.slice_mut(s![.., ..end - start]);
            let own = self.matrix.slice(s![start..end, start..end]);
            general_mat_mul(1.0, &panel, &own, 0.0, &mut images);
            let below = self.matrix.slice(s![end.., start..end]);
            let others = members.slice(s![.., end..]);
            general_mat_mul(2.0, &others, &below, 1.0, &mut images);
            Zip::from(&mut forms)
                .and(images.rows())
                .and(panel.rows())
                .for_each(|form, image, panel| *form += image.dot(&panel));
        }
        forms.to_vec()
    }
}

/// Checks distances and labels; returns the size of each group.
pub(crate) fn check(distances: &Array2<f64>, groups: &[usize]) -> Result<Vec<usize>> {
    let n = distances.nrows();
    check_length("columns of distances", distances.ncols(), n)?;
    check_length("groups of samples", groups.len(), n)?;
    check_finite("distances", distances)?;
    let n_groups = groups.iter().max().map_or(0, |largest| largest + 1);
    if n_groups < 2 || n <= n_groups {
        let (what, found, needed) = match n_groups {
            0 | 1 => ("groups", n_groups, 2),
            _ => ("samples of the groups", n, n_groups + 1),
        };
        return Err(Error::TooFew {
            what,
            found,
            needed,
        });
    }
    let mut sizes = vec![0; n_groups];
    for group in groups {
        sizes[*group] += 1;
    }
    if sizes.contains(&0) {
        return Err(Error::TooFew {
            what: "samples of a group",
            found: 0,
            needed: 1,
        });
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number};
    use serde_json::Value;

    fn labels(value: &Value) -> Vec<usize> {
        let labels = value.as_array().unwrap().iter();
        labels.map(|l| l.as_u64().unwrap() as usize).collect()
    }

    #[test]
    fn f_and_p_are_those_of_scikit_bio() {
        let golden = load("permanova");
        for case in golden["cases"].as_array().unwrap() {
            let distances = matrix(&case["distances"]);
            let permutations = Permutations { n: 4999, seed: 1 };
            let found = permanova(&distances, &labels(&case["groups"]), permutations).unwrap();
            let name = case["name"].as_str().unwrap();
            assert_close(found.pseudo_f, number(&case["pseudo_f"]), 1e-10, name);
            assert_close(found.r2, number(&case["r2"]), 1e-10, name);
            // Both p-values are shares of random label vectors: five standard errors of their difference.
            let (p, n) = (number(&case["p"]), number(&case["n_permutations"]));
            let error = (p * (1.0 - p) * (1.0 / 4999.0 + 1.0 / n)).sqrt();
            assert!(
                (found.p - p).abs() < 5.0 * error + 2e-4,
                "{name}: {}, not {p}",
                found.p
            );
        }
    }

    #[test]
    fn labels_of_few_samples_are_counted_out() {
        // Of the 20 ways to label 6 samples by threes, this one and its mirror are the best: p is 1 / 10.
        let place = [0.0_f64, 1.0, 2.0, 10.0, 11.0, 12.5];
        let distances = Array2::from_shape_fn((6, 6), |(i, j)| (place[i] - place[j]).abs());
        let groups = [0, 0, 0, 1, 1, 1];
        let permutations = Permutations { n: 19_999, seed: 0 };
        let found = permanova(&distances, &groups, permutations).unwrap();
        let error = (0.1_f64 * 0.9 / 2e4).sqrt();
        assert!((found.p - 0.1).abs() < 5.0 * error, "{}", found.p);
        let mirrored = groups.map(|group| 1 - group);
        let again = permanova(&distances, &mirrored, permutations).unwrap();
        assert_close(
            again.pseudo_f,
            found.pseudo_f,
            1e-12,
            "the names of groups mean nothing",
        );
    }

    fn uneven(n: usize) -> (Array2<f64>, Vec<usize>) {
        let distances = Array2::from_shape_fn((n, n), |(i, j)| {
            let (i, j) = (i.min(j) as f64, i.max(j) as f64);
            (i * 0.7).sin().abs() * (j - i).sqrt()
        });
        (distances, (0..n).map(|i| i % 7 % 3).collect())
    }

    #[test]
    fn groups_without_a_spread_are_tested_too() {
        // Of the three ways to part 0, 0, 5, 5 in twos one is this: p is 1 / 3, and F infinite.
        let place = [0.0_f64, 0.0, 5.0, 5.0];
        let distances = Array2::from_shape_fn((4, 4), |(i, j)| (place[i] - place[j]).abs());
        let permutations = Permutations { n: 4_999, seed: 0 };
        let found = permanova(&distances, &[0, 0, 1, 1], permutations).unwrap();
        let error = (2.0_f64 / 9.0 / 5e3).sqrt();
        assert!(found.pseudo_f.is_infinite());
        assert!((found.p - 1.0 / 3.0).abs() < 5.0 * error, "{}", found.p);
    }

    #[test]
    fn several_panels_give_the_sums_of_all_pairs() {
        let (distances, groups) = uneven(2 * BLOCK + 7);
        let n = groups.len();
        let (mut total, mut inside) = (0.0, [0.0; 3]);
        for i in 0..n {
            for j in 0..i {
                let square = distances[[i, j]].powi(2);
                total += square;
                if groups[i] == groups[j] {
                    inside[groups[i]] += square;
                }
            }
        }
        let size = |group| groups.iter().filter(|g| **g == group).count() as f64;
        let within: f64 = (0..3).map(|group| inside[group] / size(group)).sum();
        let total = total / n as f64;
        let none = Permutations { n: 0, seed: 0 };
        let found = permanova(&distances, &groups, none).unwrap();
        assert_close(found.r2, (total - within) / total, 1e-12, "R2");
    }

    #[test]
    fn one_thread_and_two_give_the_same_result() {
        let (distances, groups) = uneven(90);
        let of = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
            let run = || permanova(&distances, &groups, Permutations { n: 500, seed: 3 });
            pool.build().unwrap().install(run).unwrap()
        };
        assert_eq!(of(1), of(2));
    }

    #[test]
    fn labels_that_cannot_be_tested_are_refused() {
        let none = Permutations { n: 0, seed: 0 };
        let distances = Array2::zeros((3, 3));
        let message =
            |groups: &[usize]| permanova(&distances, groups, none).unwrap_err().to_string();
        assert!(message(&[0, 0, 0]).contains("groups: found 1"));
        assert!(message(&[0, 2, 2]).contains("samples of the groups: found 3"));
        assert!(message(&[0, 1]).contains("groups of samples: found 2"));
        let four = Array2::zeros((4, 4));
        assert!(
            permanova(&four, &[0, 2, 2, 0], none)
                .unwrap_err()
                .to_string()
                .contains("found 0")
        );
    }
}
