//! Several predictions of an entry as one, with draws that stand around it.
//!
//! ```text
//! least squares of truth - (own + sum_k w_k (other_k - own)), w_k >= 0  -> shares of the others, and their mixture
//! the same of one weight that rises or falls with the hidden share of the sample -> own against the mixture
//! ```

use crate::calibration::{Calibration, LEVELS};
use crate::scores::predictive_interval;
use serde::{Deserialize, Serialize};

/// How much of a prediction comes from which side, and how what they say together is calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// Weight of the side that draws, 0 to 1, in a sample of which [`Blend::hidden_share`] is hidden.
    pub weight: f64,
    /// What is added to it where all is hidden instead of nothing: some read a whole sample best, others what is
    /// left of it.
    pub slope: f64,
    /// Mean share of the present entries of a sample that was hidden where the weight was learned.
    pub hidden_share: f64,
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
/// Standard deviation of the hidden shares of as many entries.
const USUAL_SPREAD: f64 = 0.2;

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

    /// The shares of other predictions with the least squares of `truth - (own + sum_k w_k (other_k - own))`, none
    /// below 0, and scaled to 1 together where they are more; shrunk by the weight of 300 entries, at which they
    /// are .25 together.
    ///
    /// - `others`: per prediction a value per entry
    /// - `n_distinct`: as in [`Blend::least_squares`]
    pub fn shares(truth: &[f64], own: &[f64], others: &[&[f64]], n_distinct: usize) -> Vec<f64> {
        let n = others.len();
        if n == 0 {
            return Vec::new();
        }
        let prior = (1.0 - PRIOR_WEIGHT) / n as f64;
        let (mut gram, mut right) = (vec![vec![0.0; n]; n], vec![0.0; n]);
        for (entry, (t, own)) in truth.iter().zip(own).enumerate() {
            for (k, other) in others.iter().enumerate() {
                let difference = other[entry] - own;
                right[k] += difference * (t - own);
                for (l, other) in others.iter().enumerate() {
                    gram[k][l] += difference * (other[entry] - own);
                }
            }
        }
        let mean_square = (0..n).map(|k| gram[k][k]).sum::<f64>() / n as f64;
        if mean_square == 0.0 || n_distinct == 0 {
            return vec![prior; n]; // they say the same
        }
        let penalty = mean_square * PRIOR_ENTRIES / n_distinct as f64;
        for k in 0..n {
            gram[k][k] += penalty;
            right[k] += penalty * prior;
        }
        let mut shares = non_negative(&gram, &right);
        let sum: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum.max(1.0));
        shares
    }

    /// The blend of two predictions with this weight, whose change with the hidden share has the least squares,
    /// shrunk to none by the weight of 300 entries whose hidden shares spread as usual (.2); not calibrated.
    ///
    /// - `own`, `other`: a value per entry
    /// - `hidden_shares`: what share of the present entries of its sample was hidden, per entry
    /// - `n_distinct`: as in [`Blend::least_squares`]
    pub fn changing(
        weight: f64,
        truth: &[f64],
        [own, other]: [&[f64]; 2],
        hidden_shares: &[f64],
        n_distinct: usize,
    ) -> Blend {
        let hidden_share = hidden_shares.iter().sum::<f64>() / hidden_shares.len().max(1) as f64;
        let (mut product, mut square, mut differences) = (0.0, 0.0, 0.0);
        for (entry, t) in truth.iter().enumerate() {
            let (a, b) = (own[entry], other[entry]);
            differences += (a - b) * (a - b);
            let term = (a - b) * (hidden_shares[entry] - hidden_share);
            product += term * (t - (weight * a + (1.0 - weight) * b));
            square += term * term;
        }
        let prior = differences * USUAL_SPREAD.powi(2) * PRIOR_ENTRIES / n_distinct.max(1) as f64;
        Blend {
            weight,
            slope: match square + prior > 0.0 {
                true => product / (square + prior),
                false => 0.0, // they say the same
            },
            hidden_share,
            calibration: None,
        }
    }

    /// Weight of the side that draws in a sample of which this share of the present entries is hidden.
    pub fn weight_at(&self, hidden_share: f64) -> f64 {
        (self.weight + self.slope * (hidden_share - self.hidden_share)).clamp(0.0, 1.0)
    }

    /// The weighted mean of two predictions.
    pub fn value(&self, a: f64, b: f64, hidden_share: f64) -> f64 {
        let weight = self.weight_at(hidden_share);
        weight * a + (1.0 - weight) * b
    }

    /// Joins two predictions; the draws of the first are moved to the joint value and calibrated there.
    pub fn join(&self, a: f64, b: f64, draws: &[f64], hidden_share: f64) -> Said {
        let value = self.value(a, b, hidden_share);
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

/// Minimises `w' G w / 2 - r' w` over `w >= 0`, one coordinate after the other.
fn non_negative(gram: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    const MOST_SWEEPS: usize = 1000;
    const SETTLED: f64 = 1e-10;
    let mut weights = vec![0.0_f64; right.len()];
    for _ in 0..MOST_SWEEPS {
        let mut change = 0.0_f64;
        for k in 0..right.len() {
            let all: f64 = gram[k].iter().zip(&weights).map(|(g, w)| g * w).sum();
            let new = (weights[k] + (right[k] - all) / gram[k][k]).max(0.0);
            change = change.max((new - weights[k]).abs());
            weights[k] = new;
        }
        if change < SETTLED {
            break;
        }
    }
    weights
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
            slope: 0.0,
            hidden_share: 0.3,
            calibration: None,
        };
        let said = blend.join(1.0, 3.0, &[0.5, 1.0, 1.5], 0.1);
        assert_eq!((said.value, said.draws), (2.0, vec![1.5, 2.0, 2.5]));
        let (low, high) = said.intervals[1];
        assert!((low + high - 4.0).abs() < 1e-12 && low < 1.5 && high > 2.5);
    }

    #[test]
    fn shares_are_those_of_scipy() {
        let wave =
            |step: f64| -> Vec<f64> { (0..12).map(|k| (f64::from(k) * step).sin()).collect() };
        let others = [wave(0.7), wave(1.3), wave(2.9)];
        let own: Vec<f64> = (0..12).map(|k| (f64::from(k) * 0.4).cos()).collect();
        let truth: Vec<f64> = (0..12)
            .map(|k| {
                let (a, b, c) = (others[0][k], others[1][k], others[2][k]);
                0.5 * own[k] + 0.4 * a + 0.3 * b - 0.2 * c + 0.1 * (k as f64 * 5.1).cos()
            })
            .collect();
        let others: Vec<&[f64]> = others.iter().map(|other| &other[..]).collect();
        // scipy.optimize.nnls of the differences, with rows sqrt(p) I = sqrt(p) / 12 below, p the mean of the
        // diagonal of their Gram matrix times 300 / n.
        for (n_distinct, expected) in [
            (12, [0.0895934284, 0.0913282897, 0.0777680677]),
            (1_000_000, [0.3078112152, 0.2508479788, 0.0000000000]),
        ] {
            let shares = Blend::shares(&truth, &own, &others, n_distinct);
            for (share, expected) in shares.iter().zip(expected) {
                assert!(
                    (share - expected).abs() < 1e-8,
                    "{shares:?}, not {expected:?}"
                );
            }
        }
        // Truth beyond the other prediction would need a share above 1.
        let (a, b) = ([0.0; 500], [1.0; 500]);
        assert_eq!(Blend::shares(&[9.0; 500], &a, &[&b[..]], 500), [1.0]);
    }

    #[test]
    fn the_weight_follows_the_hidden_share() {
        let n = 100_000;
        let hidden: Vec<f64> = (0..n).map(|k| [0.1, 0.5][k % 2]).collect();
        let own: Vec<f64> = (0..n).map(|k| (k as f64).sin()).collect();
        let other: Vec<f64> = (0..n).map(|k| (k as f64 * 0.3).cos()).collect();
        // The weight is .5 where a tenth is hidden and .9 where half is.
        let truth: Vec<f64> = (0..n)
            .map(|k| {
                let weight = 0.4 + hidden[k];
                weight * own[k] + (1.0 - weight) * other[k]
            })
            .collect();
        let blend = Blend::changing(0.7, &truth, [&own, &other], &hidden, n);
        let at = [0.0, 0.1, 0.3, 0.5, 1.0].map(|share| blend.weight_at(share));
        for (weight, expected) in at.iter().zip([0.4, 0.5, 0.7, 0.9, 1.0]) {
            assert!((weight - expected).abs() < 0.003, "{at:?}");
        }
        let few = Blend::changing(
            0.7,
            &truth[..300],
            [&own[..300], &other[..300]],
            &hidden[..300],
            300,
        );
        assert!(
            (few.slope - 0.5).abs() < 1e-9,
            "shrunk to half, not {}",
            few.slope
        );
        let alike = Blend::changing(0.7, &truth, [&own, &other], &vec![0.3; n], n);
        assert!(alike.slope.abs() < 1e-6, "{}", alike.slope);
    }
}
