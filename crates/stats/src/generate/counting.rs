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
/// Each is rounded to the next whole number, at least one read; what that makes too many or too few reads is taken
/// from the counts above one, or added to all, in proportion (largest remainders; ties: the earlier taxon): small
/// counts stay as they were rounded. At a depth below their number, the heaviest get a read each.
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
    let mut sum = 0.0;
    for j in &present {
        counts[*j] = (weights[*j] / total * depth as f64).round().max(1.0);
        sum += counts[*j];
    }
    let missing = depth as f64 - sum;
    let (sign, from): (f64, Vec<f64>) = match missing > 0.0 {
        true => (1.0, present.iter().map(|j| counts[*j]).collect()),
        false => (-1.0, present.iter().map(|j| counts[*j] - 1.0).collect()),
    };
    for (j, part) in present.iter().zip(parts_of(missing.abs(), &from)) {
        counts[*j] += sign * part;
    }
    counts
}

/// A whole number in whole parts that are in proportion to some numbers, by largest remainders.
fn parts_of(whole: f64, numbers: &[f64]) -> Vec<f64> {
    let sum: f64 = numbers.iter().sum();
    if whole <= 0.0 || sum <= 0.0 {
        return vec![0.0; numbers.len()];
    }
    let exact: Vec<f64> = numbers.iter().map(|x| x / sum * whole).collect();
    let mut parts: Vec<f64> = exact.iter().map(|x| x.floor()).collect();
    let left = (whole - parts.iter().sum::<f64>()).round() as usize;
    let mut by_remainder: Vec<usize> = (0..exact.len()).collect();
    let remainder = |at: usize| exact[at].fract();
    by_remainder.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    for at in by_remainder.into_iter().cycle().take(left) {
        parts[at] += 1.0;
    }
    parts
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
    fn shares_are_rounded_and_the_rest_is_shared_out() {
        assert_eq!(apportion(&[0.5, 0.3, 0.2], 10), [5.0, 3.0, 2.0]);
        // Expected 99.9, 0.06, 0.04 of 100: one read each, the other 97 to the first.
        assert_eq!(apportion(&[0.999, 0.0006, 0.0004], 100), [98.0, 1.0, 1.0]);
        assert_eq!(apportion(&[0.1, 0.0, 0.6, 0.3], 2), [0.0, 0.0, 1.0, 1.0]);
        // 1.3, 1.3, 1.3 and 96.1 of 100: what is near one read stays one read
        let near_one = apportion(&[1.3, 1.3, 1.3, 96.1], 100);
        assert_eq!(near_one, [1.0, 1.0, 1.0, 97.0]);
        assert_eq!(apportion(&[0.0, 0.0], 7), [0.0, 0.0]);
        assert_eq!(apportion(&[0.4, 0.1], 0), [0.0, 0.0]);
        assert_eq!(apportion(&[1e-300, 1e-300], 5), [2.0, 3.0]); // 2.5 is 3, and the first gives one back
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
