//! Bootstrap intervals of ratios, over whole groups of samples.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A ratio with its central 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The ratio.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a group of samples adds to the two sums of a ratio.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shares {
    /// Part of the numerator.
    pub above: f64,
    /// Part of the denominator.
    pub below: f64,
}

/// Replicates: the ends move by about 1 % of the interval's width from seed to seed.
const N_REPLICATES: usize = 2000;

/// `f(sum above / sum below)` with the percentile interval (Efron and Tibshirani 1993, chapter 13) of
/// groups drawn with replacement. Both sums are drawn together, so the interval is that of a paired
/// comparison.
///
/// - `f`: rises, as the square root does that turns squared errors into a ratio of RMSE
/// - returns `None` without groups or with a denominator of 0
pub fn ratio(groups: &[Shares], f: fn(f64) -> f64, seed: u64) -> Option<Ratio> {
    let sum = |sum: Shares, group: &Shares| Shares {
        above: sum.above + group.above,
        below: sum.below + group.below,
    };
    let all = groups.iter().fold(Shares::default(), sum);
    if all.below.is_nan() || all.below <= 0.0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut replicates: Vec<f64> = (0..N_REPLICATES)
        .filter_map(|_| {
            let drawn = (0..groups.len()).fold(Shares::default(), |drawn, _| {
                sum(drawn, &groups[rng.random_range(0..groups.len())])
            });
            (drawn.below > 0.0).then(|| f(drawn.above / drawn.below))
        })
        .collect();
    replicates.sort_by(f64::total_cmp);
    Some(Ratio {
        value: f(all.above / all.below),
        low: crate::scores::quantile(&replicates, 0.025),
        high: crate::scores::quantile(&replicates, 0.975),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn the_interval_has_the_width_of_the_delta_method() {
        // A ratio of means with a_i = 2 b_i + e_i: its variance is var(e) / (n mean(b)^2).
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let noise = Normal::new(0.0, 1.0).unwrap();
        let groups: Vec<Shares> = (0..400)
            .map(|_| {
                let below = 5.0 + noise.sample(&mut rng);
                let above = 2.0 * below + noise.sample(&mut rng);
                Shares { above, below }
            })
            .collect();
        let found = ratio(&groups, |x| x, 1).unwrap();
        let half = 1.96 / (400.0_f64.sqrt() * 5.0);
        assert!((found.value - 2.0).abs() < 2.0 * half, "{found:?}");
        let width = (found.high - found.low) / (2.0 * half);
        assert!((0.85..1.15).contains(&width), "{found:?} against {half}");
    }

    #[test]
    fn equal_parts_have_no_spread_and_nothing_has_no_ratio() {
        let groups = [Shares {
            above: 1.0,
            below: 4.0,
        }; 7];
        let found = ratio(&groups, f64::sqrt, 1).unwrap();
        assert_eq!((found.value, found.low, found.high), (0.5, 0.5, 0.5));
        assert_eq!(ratio(&[], f64::sqrt, 1), None);
        assert_eq!(ratio(&[Shares::default()], f64::sqrt, 1), None);
    }
}
