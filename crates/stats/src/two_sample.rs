//! Can two sets of samples be told apart? Nearest neighbours, kernels, and a random forest.

use crate::classification_forest::{Features, ForestOptions, auroc_of};
use crate::error::{Error, Result, check_finite, check_length};
use ndarray::Array2;

/// Share of samples whose nearest neighbour, themselves left out, is of their own set (Lopez-Paz and Oquab
/// 2017): 0.5 where two sets of equal size are alike, 1 where they lie apart, 0 where one copies the other.
/// Neighbours at equal distances count by their share.
///
/// - `distances`: `[n, n]`, symmetric
/// - `is_second`: `[n]`, which of the two sets each sample is of
///
/// # Errors
/// A matrix that is not square or has an entry that is not finite; labels of another length; fewer than two
/// samples.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::two_sample::nearest_neighbour_accuracy;
/// let distances = array![[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]];
/// let accuracy = nearest_neighbour_accuracy(&distances, &[false, false, true]).unwrap();
/// assert_eq!(accuracy, 2.0 / 3.0);
/// ```
pub fn nearest_neighbour_accuracy(distances: &Array2<f64>, is_second: &[bool]) -> Result<f64> {
    check(distances, is_second, 1)?;
    let n = is_second.len();
    if n < 2 {
        return Err(Error::TooFew {
            what: "samples",
            found: n,
            needed: 2,
        });
    }
    let mut sum = 0.0;
    for (i, row) in distances.outer_iter().enumerate() {
        let (mut nearest, mut n_nearest, mut n_own) = (f64::INFINITY, 0.0, 0.0);
        for (j, &distance) in row.iter().enumerate().filter(|(j, _)| *j != i) {
            if distance < nearest {
                (nearest, n_nearest, n_own) = (distance, 0.0, 0.0);
            }
            if distance == nearest {
                n_nearest += 1.0;
                n_own += f64::from(u8::from(is_second[i] == is_second[j]));
            }
        }
        sum += n_own / n_nearest;
    }
    Ok(sum / n as f64)
}

/// Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, eq. 3), with the kernel
/// `exp(-d^2 / (2 sigma^2))`; `sigma` is the median distance between two of all samples.
///
/// About 0 where the sets are alike (negative half of the time), at most 2.
///
/// - `distances`: `[n, n]`, Euclidean, symmetric
/// - `is_second`: `[n]`, which of the two sets each sample is of
///
/// # Errors
/// As [`nearest_neighbour_accuracy`], and a set with fewer than two samples.
pub fn mmd2(distances: &Array2<f64>, is_second: &[bool]) -> Result<f64> {
    check(distances, is_second, 2)?;
    let n = is_second.len();
    let mut all: Vec<f64> = (0..n)
        .flat_map(|i| (0..i).map(move |j| distances[[i, j]]))
        .collect();
    // Copies have no distance to each other, and say nothing of the scale.
    all.retain(|d| *d > 0.0);
    if all.is_empty() {
        return Ok(0.0); // equal samples: every kernel is 1
    }
    let sigma = median(&mut all);
    let kernel = |d: f64| (-d * d / (2.0 * sigma * sigma)).exp();
    let (mut first, mut second, mut between) = (0.0, 0.0, 0.0);
    for i in 0..n {
        for j in 0..i {
            let value = kernel(distances[[i, j]]);
            match (is_second[i], is_second[j]) {
                (false, false) => first += value,
                (true, true) => second += value,
                _ => between += value,
            }
        }
    }
    let n_second = is_second.iter().filter(|is| **is).count() as f64;
    let n_first = n as f64 - n_second;
    Ok(
        2.0 * first / (n_first * (n_first - 1.0)) + 2.0 * second / (n_second * (n_second - 1.0))
            - 2.0 * between / (n_first * n_second),
    )
}

/// The median; reorders the values.
fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    let (below, upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let upper = *upper;
    match n % 2 {
        1 => upper,
        _ => (below.iter().copied().fold(f64::NEG_INFINITY, f64::max) + upper) / 2.0,
    }
}

/// AUROC of a random forest that is to tell two sets apart, cross-validated: the mean over folds, each scored
/// by trees that saw none of its samples. 0.5 where the sets are alike, 1 where each sample gives itself away.
///
/// - `features`: one row per sample
/// - `is_second`: `[n]`, which of the two sets each sample is of
/// - `folds`: `[n]`, the fold in which each sample is scored: 0, 1, ...; samples of one subject belong in one
///
/// # Errors
/// Labels or folds of another length; a fold that lacks one of the sets, or leaves none of it to learn from.
pub fn forest_auroc(
    features: &Features,
    is_second: &[bool],
    folds: &[usize],
    options: ForestOptions,
) -> Result<f64> {
    check_length("labels of samples", is_second.len(), features.n_rows())?;
    check_length("folds of samples", folds.len(), features.n_rows())?;
    let labels: Vec<usize> = is_second.iter().map(|is| usize::from(*is)).collect();
    let n_folds = folds.iter().max().map_or(0, |largest| largest + 1);
    let mut sum = 0.0;
    for fold in 0..n_folds {
        let (test, train): (Vec<usize>, Vec<usize>) =
            (0..folds.len()).partition(|row| folds[*row] == fold);
        for rows in [&test, &train] {
            let n_second = rows.iter().filter(|row| is_second[**row]).count();
            if n_second == 0 || n_second == rows.len() {
                return Err(Error::TooFew {
                    what: "samples of a set in a fold",
                    found: 0,
                    needed: 1,
                });
            }
        }
        sum += auroc_of(features, &labels, &train, &test, options)?;
    }
    if n_folds < 2 {
        return Err(Error::TooFew {
            what: "folds",
            found: n_folds,
            needed: 2,
        });
    }
    Ok(sum / n_folds as f64)
}

fn check(distances: &Array2<f64>, is_second: &[bool], needed: usize) -> Result<()> {
    let n = distances.nrows();
    check_length("columns of distances", distances.ncols(), n)?;
    check_length("labels of samples", is_second.len(), n)?;
    check_finite("distances", distances)?;
    let n_second = is_second.iter().filter(|is| **is).count();
    let fewest = n_second.min(n - n_second);
    if needed > 1 && fewest < needed {
        return Err(Error::TooFew {
            what: "samples of a set",
            found: fewest,
            needed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number, vector};
    use ndarray::array;

    #[test]
    fn kernels_and_neighbours_agree_with_numpy_and_scikit_learn() {
        let golden = load("two_samples");
        let points = matrix(&golden["points"]);
        let is_second: Vec<bool> = vector(&golden["labels"]).iter().map(|l| *l > 0.0).collect();
        let distances = crate::distance::euclidean(&points).unwrap();
        let found = mmd2(&distances, &is_second).unwrap();
        assert_close(found, number(&golden["mmd2"]), 1e-12, "MMD2");
        let found = nearest_neighbour_accuracy(&distances, &is_second).unwrap();
        assert_close(found, number(&golden["one_nn"]), 1e-12, "1-NN");
    }

    #[test]
    fn neighbours_at_equal_distances_count_by_their_share() {
        // Four samples, all at the same place: each has one other of its own set and two of the other.
        let found = nearest_neighbour_accuracy(&Array2::zeros((4, 4)), &[false, false, true, true]);
        assert_close(found.unwrap(), 1.0 / 3.0, 1e-15, "share");
        assert_eq!(
            mmd2(&Array2::zeros((4, 4)), &[false, false, true, true]).unwrap(),
            0.0
        );
    }

    #[test]
    fn a_crowd_of_copies_far_from_the_others_is_not_alike() {
        // Most pairs are copies of each other: the median of all distances would be 0.
        let place = |at: usize| if at < 6 { at as f64 } else { 100.0 };
        let distances = Array2::from_shape_fn((26, 26), |(i, j)| (place(i) - place(j)).abs());
        let is_second: Vec<bool> = (0..26).map(|at| at >= 6).collect();
        assert!(mmd2(&distances, &is_second).unwrap() > 0.5);
    }

    #[test]
    fn a_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&mut [9.0, 1.0, 3.0, 4.0]), 3.5);
        assert_eq!(median(&mut [9.0, 1.0, 3.0]), 3.0);
    }

    #[test]
    fn sets_that_are_too_small_are_refused() {
        let distances = Array2::zeros((3, 3));
        assert!(mmd2(&distances, &[false, false, true]).is_err());
        assert!(nearest_neighbour_accuracy(&Array2::zeros((1, 1)), &[true]).is_err());
        let features = Features::new(&array![[1.0], [2.0], [3.0], [4.0]]).unwrap();
        let options = ForestOptions::default();
        let is_second = [false, false, true, true];
        let refused =
            |folds: &[usize]| forest_auroc(&features, &is_second, folds, options).is_err();
        assert!(refused(&[0, 0, 1, 1]) && refused(&[0, 0, 0, 0]) && refused(&[0, 1]));
        assert!(!refused(&[0, 1, 0, 1]));
    }
}
