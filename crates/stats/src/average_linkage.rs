//! Hierarchical clustering by average linkage, also known as UPGMA.

use crate::error::{Result, check_finite, check_length};
use ndarray::Array2;

/// Two clusters that become one.
///
/// Of `n` points, cluster `k < n` is point `k`, and `n + k` is what merge `k` made, as in scipy's `linkage`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// Numbers of both clusters, rising.
    pub clusters: [usize; 2],
    /// Mean distance between their points.
    pub height: f64,
}

/// Merges the two nearest clusters until one is left (Sokal and Michener 1958); the distance of two clusters is
/// the mean over pairs of their points. Of equal distances the clusters that stand first are taken.
///
/// - `distances`: `[n, n]`, symmetric; time grows with the third power of `n`
/// - returns `n - 1` merges with rising heights
///
/// # Errors
/// A matrix that is not square, or has an entry that is not finite.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::average_linkage::average_linkage;
/// let line = array![[0.0, 1.0, 5.0], [1.0, 0.0, 4.0], [5.0, 4.0, 0.0]];
/// let merges = average_linkage(&line).unwrap();
/// assert_eq!((merges[0].clusters, merges[0].height), ([0, 1], 1.0));
/// assert_eq!((merges[1].clusters, merges[1].height), ([2, 3], 4.5));
/// ```
pub fn average_linkage(distances: &Array2<f64>) -> Result<Vec<Merge>> {
    let n = distances.nrows();
    check_length("columns of distances", distances.ncols(), n)?;
    check_finite("distances", distances)?;
    let mut between = distances.clone();
    // Number and size of the cluster in each place that is still in use.
    let mut places: Vec<usize> = (0..n).collect();
    let mut number: Vec<usize> = (0..n).collect();
    let mut size = vec![1.0; n];
    let mut merges = Vec::with_capacity(n.saturating_sub(1));
    while places.len() > 1 {
        let (mut nearest, mut height) = ((0, 1), f64::INFINITY);
        for (at, &i) in places.iter().enumerate() {
            for (after, &j) in places.iter().enumerate().skip(at + 1) {
                if between[[i, j]] < height {
                    (nearest, height) = ((at, after), between[[i, j]]);
                }
            }
        }
        let (i, j) = (places[nearest.0], places.remove(nearest.1));
        for &k in &places {
            let sum = size[i] * between[[i, k]] + size[j] * between[[j, k]];
            let mean = sum / (size[i] + size[j]);
            (between[[i, k]], between[[k, i]]) = (mean, mean);
        }
        let mut clusters = [number[i], number[j]];
        clusters.sort_unstable();
        number[i] = n + merges.len();
        size[i] += size[j];
        merges.push(Merge { clusters, height });
    }
    Ok(merges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix};

    #[test]
    fn merges_are_those_of_scipy() {
        let golden = load("average_linkage");
        let expected = matrix(&golden["linkage"]);
        let merges = average_linkage(&matrix(&golden["distances"])).unwrap();
        assert_eq!(merges.len(), expected.nrows());
        for (merge, row) in merges.iter().zip(expected.rows()) {
            assert_eq!(merge.clusters.map(|c| c as f64), [row[0], row[1]]);
            assert_close(merge.height, row[2], 1e-12, "height");
        }
    }

    #[test]
    fn few_points_and_bad_distances() {
        assert_eq!(average_linkage(&Array2::zeros((0, 0))).unwrap(), []);
        assert_eq!(average_linkage(&Array2::zeros((1, 1))).unwrap(), []);
        let equal = average_linkage(&Array2::zeros((3, 3))).unwrap();
        assert_eq!(
            equal.iter().map(|m| m.clusters).collect::<Vec<_>>(),
            [[0, 1], [2, 3]]
        );
        assert!(average_linkage(&Array2::zeros((2, 3))).is_err());
        assert!(average_linkage(&Array2::from_elem((2, 2), f64::NAN)).is_err());
    }
}
