//! The distribution of a number over samples, as knots between which it is linear: how values become normal
//! scores and scores values.

use serde::{Deserialize, Serialize};
use suffuse_stats::generate::normal;

/// Most knots of a distribution: fewer than samples, so that a fitted model does not list its training values.
const MAX_KNOTS: usize = 65;

/// A distribution whose quantiles are known at evenly spaced normal scores.
///
/// The value at score `z` is the quantile of order `Phi(z)`; between knots it is linear, and beyond the ends it
/// is that of the end.
///
/// ```
/// use suffuse_model::systems::sparse_microbiome::Marginal;
/// let marginal = Marginal::of(vec![3.0, 1.0, 2.0]);
/// assert!((marginal.value(0.0) - 2.0).abs() < 1e-9);
/// assert!(marginal.score(2.0).abs() < 1e-9);
/// assert!((marginal.value(9.0) - 3.0).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marginal {
    /// Score of the last knot; that of the first is its negative.
    last_score: f64,
    /// Rising; empty where nothing was observed.
    knots: Vec<f64>,
}

impl Marginal {
    /// The distribution of values, which are finite: `n` of them make up to `n` knots, 65 at most.
    pub fn of(mut values: Vec<f64>) -> Marginal {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        if n == 0 {
            return Marginal {
                last_score: 0.0,
                knots: values,
            };
        }
        let last_score = normal::quantile(1.0 - 0.5 / n as f64);
        let n_knots = n.min(MAX_KNOTS);
        let knots = (0..n_knots)
            .map(|k| quantile(&values, normal::cdf(score_of_knot(last_score, n_knots, k))))
            .collect();
        Marginal { last_score, knots }
    }

    /// The values at the knots, rising; none where nothing was observed.
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// The normal score of each knot.
    pub fn scores(&self) -> Vec<f64> {
        let n = self.knots.len();
        let score = |k| score_of_knot(self.last_score, n, k);
        (0..n).map(score).collect()
    }

    /// Says whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.knots.is_empty()
    }

    /// Says whether all values are one.
    pub fn is_constant(&self) -> bool {
        self.knots.first() == self.knots.last()
    }

    /// Says whether it is one that [`of`](Marginal::of) can make.
    pub fn is_sound(&self) -> bool {
        self.last_score.is_finite()
            && self.knots.iter().all(|knot| knot.is_finite())
            && self.knots.windows(2).all(|pair| pair[0] <= pair[1])
    }

    /// The normal score of a value; the middle of the scores that share it, 0 where nothing was observed.
    pub fn score(&self, value: f64) -> f64 {
        let n = self.knots.len();
        let below = self.knots.partition_point(|knot| *knot < value);
        let up_to = self.knots.partition_point(|knot| *knot <= value);
        let at = |k: usize| score_of_knot(self.last_score, n, k);
        match (n, below) {
            (0, _) => 0.0,
            _ if up_to > below => 0.5 * (at(below) + at(up_to - 1)),
            (_, 0) => at(0),
            (n, k) if k == n => at(n - 1),
            (_, k) => {
                let (low, high) = (self.knots[k - 1], self.knots[k]);
                at(k - 1) + (value - low) / (high - low) * (at(k) - at(k - 1))
            }
        }
    }

    /// The value at a normal score; `NaN` where nothing was observed.
    pub fn value(&self, score: f64) -> f64 {
        let n = self.knots.len();
        if n < 2 {
            return self.knots.first().copied().unwrap_or(f64::NAN);
        }
        let steps = (score + self.last_score) / (2.0 * self.last_score) * (n - 1) as f64;
        let place = steps.clamp(0.0, (n - 1) as f64);
        let below = (place.floor() as usize).min(n - 2);
        let part = place - below as f64;
        self.knots[below] + part * (self.knots[below + 1] - self.knots[below])
    }
}

/// The quantile of sorted values, at least one: value i has the order (i + 1/2) / n (Hazen 1914).
pub(super) fn quantile(sorted: &[f64], order: f64) -> f64 {
    let n = sorted.len();
    let place = (order * n as f64 - 0.5).clamp(0.0, (n - 1) as f64);
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(n - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

fn score_of_knot(last_score: f64, n_knots: usize, knot: usize) -> f64 {
    match n_knots {
        0 | 1 => 0.0,
        n => last_score * (2.0 * knot as f64 / (n - 1) as f64 - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_large_sample_are_those_of_its_distribution() {
        // Exponential: the value at score z is -ln(1 - Phi(z)).
        let n = 20_000;
        let values = (0..n).map(|i| -(1.0 - (f64::from(i) + 0.5) / f64::from(n)).ln());
        let marginal = Marginal::of(values.collect());
        for z in [-2.0_f64, -0.5, 0.0, 1.0, 2.5] {
            let exact = -(1.0 - normal::cdf(z)).ln();
            assert!(
                (marginal.value(z) - exact).abs() < 0.02 * exact.max(0.1),
                "{z}"
            );
            assert!((marginal.score(exact) - z).abs() < 0.03, "{z}");
        }
    }

    #[test]
    fn one_value_ties_and_nothing_are_distributions_too() {
        let one = Marginal::of(vec![4.0]);
        assert_eq!(
            (one.value(-1.0), one.score(4.0), one.score(9.0)),
            (4.0, 0.0, 0.0)
        );
        let tied = Marginal::of(vec![2.0; 50]);
        assert_eq!((tied.value(1.3), tied.score(2.0)), (2.0, 0.0));
        let none = Marginal::of(Vec::new());
        assert!(none.is_empty() && none.value(0.0).is_nan() && none.score(1.0) == 0.0);
    }

    #[test]
    fn a_score_leads_back_to_its_value() {
        let marginal = Marginal::of((0..200).map(|i| f64::from(i).powf(1.5)).collect());
        for value in [0.3, 10.0, 777.0, 2000.0] {
            let back = marginal.value(marginal.score(value));
            assert!(
                (back - value).abs() < 1e-9 * value.max(1.0),
                "{value} {back}"
            );
        }
    }
}
