//! Two predictions of an entry as one, with draws that stand around it.

use crate::calibration::{Calibration, LEVELS};
use crate::scores::predictive_interval;
use serde::{Deserialize, Serialize};

/// How much of a prediction comes from which side, and how what they say together is calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// Weight of the side that draws, 0 to 1.
    pub weight: f64,
    /// Calibration of both together; `None` where too little was known.
    pub calibration: Option<Calibration>,
}

/// What is said of an entry, in one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Value.
    pub value: f64,
    /// Draws.
    pub draws: Vec<f64>,
    /// Central 50 % and 90 % intervals.
    pub intervals: [(f64, f64); 2],
}

/// The weight before anything is seen, and how many entries that belief counts for.
const PRIOR_WEIGHT: f64 = 0.75;
const PRIOR_ENTRIES: f64 = 300.0;

impl Blend {
    /// The weight `w` that leaves the least squares of `truth - (w a + (1 - w) b)`, shrunk:
    /// `w = sum (a - b)(t - b) / sum (a - b)^2`, with 300 entries added at which it is .75.
    ///
    /// - `n_distinct`: entries without their copies, which say little new
    /// - returns a weight from 0 to 1
    pub fn least_squares(truth: &[f64], a: &[f64], b: &[f64], n_distinct: usize) -> f64 {
        let (mut product, mut square) = (0.0, 0.0);
        for ((t, a), b) in truth.iter().zip(a).zip(b) {
            product += (a - b) * (t - b);
            square += (a - b) * (a - b);
        }
        if square == 0.0 || n_distinct == 0 {
            return PRIOR_WEIGHT; // they say the same
        }
        let prior = square * PRIOR_ENTRIES / n_distinct as f64;
        ((product + prior * PRIOR_WEIGHT) / (square + prior)).clamp(0.0, 1.0)
    }

    /// The weighted mean of two predictions.
    pub fn value(&self, a: f64, b: f64) -> f64 {
        self.weight * a + (1.0 - self.weight) * b
    }

    /// Joins two predictions; the draws of the first are moved to the joint value and calibrated there.
    pub fn join(&self, a: f64, b: f64, draws: &[f64]) -> Said {
        let value = self.value(a, b);
        let moved: Vec<f64> = draws.iter().map(|draw| draw + value - a).collect();
        match &self.calibration {
            Some(calibration) => {
                let draws = calibration.draws(&moved, value);
                Said {
                    value,
                    intervals: calibration.intervals(&draws, value),
                    draws,
                }
            }
            None => Said {
                value,
                intervals: LEVELS.map(|level| predictive_interval(&moved, level)),
                draws: moved,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_that_of_least_squares_where_there_is_much_to_learn_from() {
        // numpy.linalg.lstsq((a - b)[:, None], t - b) on these gives 0.3 exactly.
        let a: Vec<f64> = (0..10_000).map(|k| f64::from(k % 17)).collect();
        let b: Vec<f64> = (0..10_000).map(|k| f64::from(k % 5)).collect();
        let truth: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.3 * a + 0.7 * b).collect();
        let weight = Blend::least_squares(&truth, &a, &b, a.len());
        assert!(
            (weight - (0.3 + 0.03 * 0.75) / 1.03).abs() < 1e-9,
            "{weight}"
        );
        let few = Blend::least_squares(&truth[..20], &a[..20], &b[..20], 20);
        assert!((few - (0.3 * 20.0 + 225.0) / 320.0).abs() < 1e-9, "{few}");
        assert_eq!(Blend::least_squares(&[1.0], &[2.0], &[2.0], 1), 0.75);
    }

    #[test]
    fn draws_move_with_the_value_and_keep_their_spread_without_calibration() {
        let blend = Blend {
            weight: 0.5,
            calibration: None,
        };
        let said = blend.join(1.0, 3.0, &[0.5, 1.0, 1.5]);
        assert_eq!((said.value, said.draws), (2.0, vec![1.5, 2.0, 2.5]));
        let (low, high) = said.intervals[1];
        assert!((low + high - 4.0).abs() < 1e-12 && low < 1.5 && high > 2.5);
    }
}
