//! Scores of draws as predictive distributions: CRPS, and coverage and width of central intervals.

use super::check_all_finite;
use crate::error::check_length;
use crate::{Error, Result};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::f64::consts::LN_10;

/// Quality of draws as predictive distributions, averaged over `n` entries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DrawScores {
    /// Continuous ranked probability score of the empirical distribution, in the unit of the values.
    pub crps: f64,
    /// Share of entries inside the central 50 % interval.
    pub coverage_50: f64,
    /// Mean width of that interval, in the unit of the values.
    pub width_50: f64,
    /// Share of entries inside the central 90 % interval.
    pub coverage_90: f64,
    /// Mean width of that interval, in the unit of the values.
    pub width_90: f64,
    /// Number of entries.
    pub n: usize,
    /// Draws per entry.
    pub n_draws: usize,
}

/// Scores draws of each entry as a predictive distribution.
///
/// CRPS for sorted draws `x_(1) <= ... <= x_(m)` in the form that does not favour many draws,
/// `mean |x_k - y| - 1/(m (m - 1)) * sum (2 k - m - 1) x_(k)` (Ferro 2014, fair CRPS); of one draw
/// it is the absolute error. Intervals are those of [`predictive_interval`].
///
/// - `truth`: `n` values; `draws`: `[n, n_draws]`, in the same unit
///
/// # Errors
/// Lengths that differ, no draws, a value that is not finite.
pub fn score_draws(truth: &[f64], draws: ArrayView2<'_, f64>) -> Result<DrawScores> {
    let (n, n_draws) = draws.dim();
    check_length("rows of the draws", n, truth.len())?;
    if n_draws == 0 {
        return Err(Error::TooFew {
            what: "draws per entry",
            found: 0,
            needed: 1,
        });
    }
    check_all_finite("truth", truth)?;
    let (mut crps, mut inside, mut width) = (0.0, [0_usize; 2], [0.0; 2]);
    for (row, (&y, entry)) in truth.iter().zip(draws.rows()).enumerate() {
        let mut sorted = entry.to_vec();
        if let Some(column) = sorted.iter().position(|value| !value.is_finite()) {
            let value = sorted[column];
            return Err(Error::BadEntry {
                what: "draws",
                row,
                column,
                value,
                expected: "a finite number",
            });
        }
        sorted.sort_by(f64::total_cmp);
        crps += fair_crps(&sorted, y);
        for (slot, level) in [0.5, 0.9].into_iter().enumerate() {
            let (low, high) = predictive_interval(&sorted, level);
            inside[slot] += usize::from(low <= y && y <= high);
            width[slot] += high - low;
        }
    }
    let count = n as f64;
    Ok(DrawScores {
        crps: crps / count,
        coverage_50: inside[0] as f64 / count,
        width_50: width[0] / count,
        coverage_90: inside[1] as f64 / count,
        width_90: width[1] / count,
        n,
        n_draws,
    })
}

/// Continuous ranked probability score of one entry in the form of [`score_draws`].
///
/// - `sorted`: at least one draw, rising, in the unit of `truth`
pub fn fair_crps(sorted: &[f64], truth: f64) -> f64 {
    let m = sorted.len() as f64;
    let to_truth: f64 = sorted.iter().map(|x| (x - truth).abs()).sum();
    let spread: f64 = sorted
        .iter()
        .enumerate()
        .map(|(k, x)| (2.0 * k as f64 + 1.0 - m) * x)
        .sum();
    to_truth / m - spread / (m * (m - 1.0).max(1.0))
}

impl DrawScores {
    /// As [`Scores::in_log10`](super::Scores::in_log10): CRPS and widths shrink by `ln 10`, coverages stay.
    pub fn in_log10(self) -> DrawScores {
        DrawScores {
            crps: self.crps / LN_10,
            width_50: self.width_50 / LN_10,
            width_90: self.width_90 / LN_10,
            ..self
        }
    }
}

/// The central interval that holds a further draw with probability `level`, from a few draws.
///
/// `mean +- t(m - 1, (1 + level) / 2) * sd * sqrt(1 + 1/m)`, exact for Gaussian draws. Quantiles of
/// the draws themselves are far too narrow: those of ten draws at 5 and 95 % hold 74 %. A single
/// draw says nothing of its spread: both ends are the draw.
///
/// - `draws`: at least one, in any unit
pub fn predictive_interval(draws: &[f64], level: f64) -> (f64, f64) {
    let m = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / m;
    if draws.len() < 2 {
        return (mean, mean);
    }
    let sd = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (m - 1.0)).sqrt();
    let t = StudentsT::new(0.0, 1.0, m - 1.0)
        .expect("two draws leave a degree of freedom")
        .inverse_cdf((1.0 + level) / 2.0);
    let half = t * sd * (1.0 + 1.0 / m).sqrt();
    (mean - half, mean + half)
}

/// Quantile of sorted values by linear interpolation (R type 7).
pub fn quantile(sorted: &[f64], level: f64) -> f64 {
    let position = level * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number, vector};
    use ndarray::{Array2, array};

    #[test]
    fn draw_scores_agree_with_the_double_sum_and_scipys_t_intervals() {
        let golden = load("scores");
        let truth = vector(&golden["draws"]["truth"]).to_vec();
        let draws = matrix(&golden["draws"]["draws"]);
        let found = score_draws(&truth, draws.view()).unwrap();
        let expected = &golden["draws"]["expected"];
        assert_close(found.crps, number(&expected["crps"]), 1e-12, "crps");
        assert_close(
            found.coverage_50,
            number(&expected["coverage_50"]),
            1e-12,
            "coverage 50",
        );
        assert_close(
            found.width_50,
            number(&expected["width_50"]),
            1e-9,
            "width 50",
        );
        assert_close(
            found.coverage_90,
            number(&expected["coverage_90"]),
            1e-12,
            "coverage 90",
        );
        assert_close(
            found.width_90,
            number(&expected["width_90"]),
            1e-9,
            "width 90",
        );
    }

    #[test]
    fn crps_of_a_single_draw_is_its_absolute_error() {
        let scores = score_draws(&[1.0, 5.0], array![[3.0], [4.5]].view()).unwrap();
        assert_close(scores.crps, (2.0 + 0.5) / 2.0, 1e-15, "crps");
        assert!(matches!(
            score_draws(&[1.0], Array2::zeros((1, 0)).view()),
            Err(Error::TooFew { .. })
        ));
    }
}
