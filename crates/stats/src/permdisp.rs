//! PERMDISP: do groups of samples spread differently around their centres?
//!
//! Anderson (2006). The distance of a sample to the centroid of its group follows from squared distances,
//! with what is negative in them (Bray-Curtis is not Euclidean) taken off, as in the paper and in vegan:
//!
//! ```text
//! z_i^2 = | sum_(j in g) d_ij^2 / n_g  -  sum_(j<k in g) d_jk^2 / n_g^2 |
//! ```
//!
//! F is that of a one-way analysis of variance of `z`; its p-value permutes the residuals of `z`.
//! scikit-bio drops the negative part instead, which gives other figures unless distances are Euclidean.

use crate::Result;
use crate::differential::Permutations;
use crate::permanova::{check, p_value, shuffled, threshold};
use ndarray::Array2;
use rayon::prelude::*;
use serde::Serialize;

/// How differently groups spread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Permdisp {
    /// Variance of the distances to the centroid between groups over that within.
    pub f: f64,
    /// Share of permutations with an F as large; `NaN` without permutations.
    pub p: f64,
    /// Mean distance to the centroid, per group.
    pub dispersions: Vec<f64>,
}

/// Tests whether groups differ in spread.
///
/// - `distances`: `[n, n]`, symmetric with zeros on the diagonal
/// - `groups`: `[n]`, the group of each sample: 0, 1, ..., each with a member
///
/// # Errors
/// As [`crate::permanova::permanova`].
pub fn permdisp(
    distances: &Array2<f64>,
    groups: &[usize],
    permutations: Permutations,
) -> Result<Permdisp> {
    let sizes = check(distances, groups)?;
    let to_centroid = to_centroids(distances, groups, &sizes);
    let means = means(&to_centroid, groups, &sizes);
    let f = f_of(&to_centroid, groups, &sizes);
    let residuals: Vec<f64> = to_centroid
        .iter()
        .zip(groups)
        .map(|(z, group)| z - means[*group])
        .collect();
    let is_as_large: Vec<bool> = (0..permutations.n)
        .into_par_iter()
        .map(|k| {
            let residuals = shuffled(&residuals, permutations.seed, k as u64);
            f_of(&residuals, groups, &sizes) >= threshold(f)
        })
        .collect();
    let n_as_large = is_as_large.iter().filter(|is| **is).count();
    Ok(Permdisp {
        f,
        p: p_value(f, n_as_large, permutations.n),
        dispersions: means,
    })
}

/// The distance of each sample to the centroid of its group.
fn to_centroids(distances: &Array2<f64>, groups: &[usize], sizes: &[usize]) -> Vec<f64> {
    // Mean squared distance to the members of the own group.
    let to_members: Vec<f64> = distances
        .outer_iter()
        .zip(groups)
        .map(|(row, own)| {
            let members = row
                .into_iter()
                .zip(groups)
                .filter(|(_, group)| *group == own);
            let sum: f64 = members.map(|(d, _)| d * d).sum();
            sum / sizes[*own] as f64
        })
        .collect();
    let among = means(&to_members, groups, sizes);
    to_members
        .iter()
        .zip(groups)
        .map(|(square, group)| (square - among[*group] / 2.0).abs().sqrt())
        .collect()
}

fn means(values: &[f64], groups: &[usize], sizes: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.0; sizes.len()];
    for (value, group) in values.iter().zip(groups) {
        sums[*group] += value;
    }
    sums.iter()
        .zip(sizes)
        .map(|(sum, n)| sum / *n as f64)
        .collect()
}

/// F of a one-way analysis of variance.
fn f_of(values: &[f64], groups: &[usize], sizes: &[usize]) -> f64 {
    let (n, n_groups) = (values.len() as f64, sizes.len() as f64);
    let means = means(values, groups, sizes);
    let mean = values.iter().sum::<f64>() / n;
    let between: f64 = means
        .iter()
        .zip(sizes)
        .map(|(own, size)| *size as f64 * (own - mean).powi(2))
        .sum();
    let within: f64 = values
        .iter()
        .zip(groups)
        .map(|(value, group)| (value - means[*group]).powi(2))
        .sum();
    between / (n_groups - 1.0) / (within / (n - n_groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number, vector};

    #[test]
    fn f_is_that_of_scikit_bio_where_distances_are_euclidean_and_of_the_definition_elsewhere() {
        let golden = load("permanova");
        for case in golden["cases"].as_array().unwrap() {
            let distances = matrix(&case["distances"]);
            let groups: Vec<usize> = vector(&case["groups"])
                .iter()
                .map(|g| *g as usize)
                .collect();
            let permutations = Permutations { n: 4999, seed: 2 };
            let found = permdisp(&distances, &groups, permutations).unwrap();
            let name = case["name"].as_str().unwrap();
            // By numpy's eigenvectors, negative axes subtracted; scikit-bio's where there are none.
            assert_close(found.f, number(&case["permdisp_f"]), 1e-8, name);
            if !case["permdisp_f_skbio"].is_null() {
                assert_close(found.f, number(&case["permdisp_f_skbio"]), 1e-8, name);
            }
            let (p, n) = (number(&case["permdisp_p"]), number(&case["n_permutations"]));
            let error = (p * (1.0 - p) * (1.0 / 4999.0 + 1.0 / n)).sqrt();
            assert!(
                (found.p - p).abs() < 5.0 * error + 2e-4,
                "{name}: {}, not {p}",
                found.p
            );
        }
    }

    #[test]
    fn a_wide_group_has_the_larger_dispersion() {
        // 0, 1, 2 lie 1, 0, 1 from their mean; 10, 20, 30 ten times that.
        let place = [0.0_f64, 1.0, 2.0, 10.0, 20.0, 30.0];
        let distances = Array2::from_shape_fn((6, 6), |(i, j)| (place[i] - place[j]).abs());
        let none = Permutations { n: 0, seed: 0 };
        let found = permdisp(&distances, &[0, 0, 0, 1, 1, 1], none).unwrap();
        assert_close(found.dispersions[0], 2.0 / 3.0, 1e-12, "near");
        assert_close(found.dispersions[1], 20.0 / 3.0, 1e-12, "wide");
        assert!(found.p.is_nan());
        // Nothing is spread, so there is nothing to compare.
        let some = Permutations { n: 99, seed: 0 };
        let found = permdisp(&Array2::zeros((6, 6)), &[0, 0, 0, 1, 1, 1], some).unwrap();
        assert!(found.f.is_nan() && found.p.is_nan());
    }
}
