//! From compositions to whole counts of a given total.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Gamma};

/// Weights in proportion to a draw from a Dirichlet distribution; the largest is 1.
///
/// - `alpha`: not negative, finite, one of them above 0; a parameter of 0 gives a weight of 0
pub(crate) fn dirichlet(alpha: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
    // On the log scale: Gamma(a) = Gamma(a + 1) U^(1/a), which is too small for f64 at a = 0.001.
    let logs: Vec<f64> = alpha
        .iter()
        .map(|alpha| {
            if *alpha == 0.0 {
                return f64::NEG_INFINITY;
            }
            let gamma = Gamma::new(alpha + 1.0, 1.0)
                .expect("a shape above 1")
                .sample(rng);
            let uniform: f64 = 1.0 - rng.random::<f64>();
            gamma.ln() + uniform.ln() / alpha
        })
        .collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(|x| (x - most).exp()).collect()
}

/// Multinomial counts, by conditional binomials.
///
/// - `weights`: not negative, finite, with a positive sum; a weight of 0 gives a count of 0
/// - returns counts that sum to `depth`
pub fn multinomial(weights: &[f64], depth: u64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    // Sums from the end, so that the last taxon with a weight has the ratio 1 exactly.
    let mut left_weight = vec![0.0; weights.len() + 1];
    for at in (0..weights.len()).rev() {
        left_weight[at] = left_weight[at + 1] + weights[at];
    }
    let mut left = depth;
    weights
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            if left == 0 || *weight <= 0.0 {
                return 0.0;
            }
            let ratio = weight / left_weight[at];
            let count = if ratio >= 1.0 {
                left
            } else {
                Binomial::new(left, ratio)
                    .expect("a ratio of a part to its whole is in 0..=1")
                    .sample(rng)
            };
            left -= count;
            count as f64
        })
        .collect()
}

/// Counts nearest to `depth` times the share of each weight, in which each taxon with a weight has a read.
///
/// Each gets one read; the other reads are shared out in proportion to what is expected above one read,
/// rounded by largest remainders (ties: the earlier taxon). At a depth below their number, the heaviest
/// get a read each.
///
/// - `weights`: not negative, finite; all 0 gives counts of 0
/// - returns counts that sum to `depth`, unless all weights are 0
pub fn apportion(weights: &[f64], depth: u64) -> Vec<f64> {
    let mut counts = vec![0.0; weights.len()];
    let total: f64 = weights.iter().sum();
    let mut present: Vec<usize> = (0..weights.len()).filter(|j| weights[*j] > 0.0).collect();
    if present.is_empty() {
        return counts;
    }
    if depth <= present.len() as u64 {
        present.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
        present
            .iter()
            .take(depth as usize)
            .for_each(|j| counts[*j] = 1.0);
        return counts;
    }
    let spare = depth - present.len() as u64;
    let above: Vec<f64> = present
        .iter()
        .map(|j| (weights[*j] / total * depth as f64 - 1.0).max(0.0))
        .collect();
    let sum: f64 = above.iter().sum();
    let shares: Vec<f64> = above.iter().map(|x| x / sum * spare as f64).collect();
    let mut given = 0;
    for (j, share) in present.iter().zip(&shares) {
        counts[*j] = 1.0 + share.floor();
        given += share.floor() as u64;
    }
    let mut by_remainder: Vec<usize> = (0..present.len()).collect();
    let remainder = |at: usize| shares[at] - shares[at].floor();
    by_remainder.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    let left = spare.saturating_sub(given) as usize;
    for at in by_remainder.into_iter().cycle().take(left) {
        counts[present[at]] += 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    #[test]
    fn counts_have_the_moments_of_a_multinomial() {
        let weights = [0.0, 2.0, 1.0, 5.0, 0.0];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (n, depth) = (20_000, 50);
        let (mut sum, mut cross) = ([0.0; 5], 0.0);
        for _ in 0..n {
            let counts = multinomial(&weights, depth, &mut rng);
            assert_eq!(counts.iter().sum::<f64>(), 50.0);
            assert_eq!((counts[0], counts[4]), (0.0, 0.0));
            sum.iter_mut().zip(&counts).for_each(|(s, c)| *s += c);
            cross += counts[1] * counts[3];
        }
        let n = n as f64;
        for (sum, weight) in sum.iter().zip(weights) {
            let p = weight / 8.0;
            let error = (50.0 * p * (1.0 - p) / n).sqrt();
            assert!((sum / n - 50.0 * p).abs() <= 4.0 * error);
        }
        // Cov = -N p q.
        let covariance = cross / n - sum[1] * sum[3] / (n * n);
        assert!(
            (covariance + 50.0 * 0.25 * 0.625).abs() < 0.4,
            "{covariance}"
        );
    }

    #[test]
    fn shares_are_rounded_by_largest_remainders() {
        assert_eq!(apportion(&[0.5, 0.3, 0.2], 10), [5.0, 3.0, 2.0]);
        // Expected 99.9, 0.06, 0.04 of 100: one read each, the other 97 to the first.
        assert_eq!(apportion(&[0.999, 0.0006, 0.0004], 100), [98.0, 1.0, 1.0]);
        assert_eq!(apportion(&[0.1, 0.0, 0.6, 0.3], 2), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(apportion(&[0.0, 0.0], 7), [0.0, 0.0]);
        assert_eq!(apportion(&[0.4, 0.1], 0), [0.0, 0.0]);
        assert_eq!(apportion(&[1e-300, 1e-300], 5), [3.0, 2.0]);
    }

    proptest! {
        #[test]
        fn totals_are_exact_and_zeros_stay(
            weights in prop::collection::vec(prop_oneof![Just(0.0), 1e-9..1.0_f64], 1..40),
            depth in 0_u64..100_000, seed in 0_u64..9
        ) {
            let is_empty = weights.iter().all(|w| *w == 0.0);
            let expected = if is_empty { 0.0 } else { depth as f64 };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for counts in [apportion(&weights, depth), multinomial(&weights, depth, &mut rng)] {
                prop_assert_eq!(counts.iter().sum::<f64>(), expected);
                for (count, weight) in counts.iter().zip(&weights) {
                    prop_assert!(*count >= 0.0 && count.fract() == 0.0);
                    prop_assert!(*weight > 0.0 || *count == 0.0);
                }
            }
            let n_present = weights.iter().filter(|w| **w > 0.0).count();
            if depth as usize >= n_present {
                let counts = apportion(&weights, depth);
                prop_assert_eq!(counts.iter().filter(|c| **c > 0.0).count(), n_present);
            }
        }
    }
}
