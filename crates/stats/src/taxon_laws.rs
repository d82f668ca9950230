//! Two laws that taxa of real tables follow, and how well those of another table follow the same.
//!
//! - Mean and variance (Taylor 1961): over taxa, the log of the variance of a share rises along a line with
//!   the log of its mean.
//! - Occupancy and abundance (Gaston 2000): over taxa, the log-odds of presence rise along a line with the
//!   log of the mean share.
//!
//! A line is fitted to the taxa of one table, and `R2` says how much of the variation among the taxa of
//! another table that line explains: 1 for all of it, negative where a constant would do better.

use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView1};

/// Which law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// `log10 variance` on `log10 mean`.
    MeanVariance,
    /// `ln((k + 1/2) / (n - k + 1/2))` on `log10 mean`, of a taxon in `k` of `n` samples.
    OccupancyAbundance,
}

/// `R2` of the taxa of `other` around the line through the taxa of `fitted`.
///
/// - `fitted`, `other`: `[n_samples, n_taxa]`, shares; taxa without a positive value are left out, and of mean and
///   variance those that do not vary
/// - returns `NaN` where the taxa of `other` do not vary
///
/// # Errors
/// Fewer than two samples in a table, or three taxa that can be placed.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::taxon_laws::{Law, r2};
/// // Values in proportion: the standard deviation follows the mean, on a line without scatter.
/// let table = array![[0.1, 0.2, 0.4], [0.2, 0.4, 0.8]];
/// assert!((r2(Law::MeanVariance, &table, &table).unwrap() - 1.0).abs() < 1e-12);
/// ```
pub fn r2(law: Law, fitted: &Array2<f64>, other: &Array2<f64>) -> Result<f64> {
    let line = Line::through(&points(law, fitted)?);
    let points = points(law, other)?;
    let n = points.len() as f64;
    let mean = points.iter().map(|[_, y]| y).sum::<f64>() / n;
    let total: f64 = points.iter().map(|[_, y]| (y - mean).powi(2)).sum();
    let off: f64 = points
        .iter()
        .map(|[x, y]| (y - line.intercept - line.slope * x).powi(2))
        .sum();
    // Points that are all one, but for rounding, do not vary.
    Ok(if total > 1e-20 * n * (1.0 + mean * mean) {
        1.0 - off / total
    } else {
        f64::NAN
    })
}

/// `[x, y]` of each taxon that can be placed.
fn points(law: Law, shares: &Array2<f64>) -> Result<Vec<[f64; 2]>> {
    let n = shares.nrows();
    if n < 2 {
        return Err(Error::TooFew {
            what: "samples",
            found: n,
            needed: 2,
        });
    }
    let points: Vec<[f64; 2]> = shares
        .columns()
        .into_iter()
        .filter_map(|taxon| point(law, taxon))
        .collect();
    match points.len() {
        0..3 => Err(Error::TooFew {
            what: "taxa with a positive mean and variance",
            found: points.len(),
            needed: 3,
        }),
        _ => Ok(points),
    }
}

fn point(law: Law, taxon: ArrayView1<f64>) -> Option<[f64; 2]> {
    let n = taxon.len() as f64;
    let mean = taxon.sum() / n;
    let y = match law {
        Law::MeanVariance => {
            let squares: f64 = taxon.iter().map(|x| (x - mean).powi(2)).sum();
            if squares <= n * (n * f64::EPSILON * mean).powi(2) {
                return None; // the same in every sample, but for rounding
            }
            (squares / (n - 1.0)).log10()
        }
        Law::OccupancyAbundance => {
            let k = taxon.iter().filter(|x| **x > 0.0).count() as f64;
            ((k + 0.5) / (n - k + 0.5)).ln()
        }
    };
    (mean > 0.0 && y.is_finite()).then(|| [mean.log10(), y])
}

/// A line by least squares.
struct Line {
    intercept: f64,
    slope: f64,
}

impl Line {
    fn through(points: &[[f64; 2]]) -> Line {
        let n = points.len() as f64;
        let mean = |of: usize| points.iter().map(|point| point[of]).sum::<f64>() / n;
        let (x, y) = (mean(0), mean(1));
        let products = |of: usize| -> f64 {
            let terms = points
                .iter()
                .map(|point| (point[0] - x) * (point[of] - [x, y][of]));
            terms.sum()
        };
        // Taxa of one mean give no slope: a constant is the line.
        let slope = match products(0) {
            0.0 => 0.0,
            squares => products(1) / squares,
        };
        Line {
            intercept: y - slope * x,
            slope,
        }
    }
}

/// Slope of the line by least squares through pairs `(x, y)`; `NaN` where `x` does not vary.
///
/// # Errors
/// Vectors of different lengths.
pub fn slope(x: &[f64], y: &[f64]) -> Result<f64> {
    crate::error::check_length("values", y.len(), x.len())?;
    let is_constant = x.iter().all(|value| *value == x[0]);
    let points: Vec<[f64; 2]> = x.iter().zip(y).map(|(x, y)| [*x, *y]).collect();
    Ok(if is_constant {
        f64::NAN
    } else {
        Line::through(&points).slope
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number};
    use ndarray::array;

    #[test]
    fn both_laws_agree_with_numpys_polynomial_fit() {
        let golden = load("two_samples");
        let (fitted, other) = (matrix(&golden["shares"]), matrix(&golden["other_shares"]));
        for (law, name) in [
            (Law::MeanVariance, "mean_variance_r2"),
            (Law::OccupancyAbundance, "occupancy_r2"),
        ] {
            let found = r2(law, &fitted, &other).unwrap();
            assert_close(found, number(&golden[name]), 1e-10, name);
        }
        assert_close(
            slope(&[1.0, 2.0, 4.0], &[1.0, 3.0, 7.0]).unwrap(),
            2.0,
            1e-15,
            "slope",
        );
        assert!(slope(&[1.0, 1.0], &[1.0, 2.0]).unwrap().is_nan());
        assert!(slope(&[1.0], &[]).is_err());
    }

    #[test]
    fn a_variance_of_rounding_is_none() {
        // 0.4 thirty times has the variance 3e-32 in floating point.
        let fitted = array![[0.1, 0.2, 0.7], [0.0, 0.3, 0.7], [0.2, 0.1, 0.8]];
        let alike = Array2::from_shape_fn((30, 3), |(_, taxon)| [0.4, 0.35, 0.25][taxon]);
        let message = r2(Law::MeanVariance, &fitted, &alike)
            .unwrap_err()
            .to_string();
        assert!(message.contains("mean and variance: found 0"), "{message}");
    }

    #[test]
    fn taxa_that_do_not_vary_have_no_r2() {
        let fitted = array![[0.1, 0.2, 0.7], [0.0, 0.3, 0.7], [0.2, 0.0, 0.8]];
        let n = 7;
        let other = Array2::from_shape_fn((n, 3), |(_, taxon)| [0.1, 0.3, 0.6][taxon]);
        assert!(
            r2(Law::OccupancyAbundance, &fitted, &other)
                .unwrap()
                .is_nan()
        );
    }

    #[test]
    fn tables_without_a_line_are_refused() {
        let few = array![[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]];
        assert!(
            r2(Law::OccupancyAbundance, &few, &few)
                .unwrap_err()
                .to_string()
                .contains("taxa")
        );
        let one = array![[0.2, 0.3, 0.5]];
        assert!(
            r2(Law::MeanVariance, &one, &one)
                .unwrap_err()
                .to_string()
                .contains("samples")
        );
    }
}
