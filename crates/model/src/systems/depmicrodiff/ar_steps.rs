//! Algorithm 1: how the tokens are split into autoregressive steps.

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

/// Consecutive, non-empty groups of tokens; later groups are denoised after earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArSteps {
    /// `cs` of the paper: where each group starts, and the number of tokens at the end.
    bounds: Vec<usize>,
}

impl ArSteps {
    /// Draws a split of `n_tokens` tokens (DepMicroDiff paper, Algorithm 1).
    ///
    /// The number of steps `N` is `i + 1` with probability `(1 - alpha) alpha^i / (1 - alpha^S)`
    /// for `i` in `0..S`, or uniform over `1..=S` when `alpha` is 1. The `N - 1` cut points are a
    /// uniform sample without replacement of `1..S`: the printed range `[1, S]` would allow a cut
    /// at `S`, that is an empty last step.
    ///
    /// - `n_tokens`: `S`, at least 1
    /// - `alpha`: exponential decay in `(0, 1]`
    pub fn draw(n_tokens: usize, alpha: f64, rng: &mut ChaCha8Rng) -> Self {
        let n_steps = if alpha == 1.0 {
            rng.random_range(1..=n_tokens)
        } else {
            let b = (1.0 - alpha) / (1.0 - alpha.powi(n_tokens as i32));
            let u: f64 = rng.random();
            let mut cumulative = 0.0;
            (0..n_tokens)
                .position(|i| {
                    cumulative += b * alpha.powi(i as i32);
                    u < cumulative
                })
                .map_or(n_tokens, |i| i + 1)
        };
        let mut cuts: Vec<usize> = index::sample(rng, n_tokens - 1, n_steps - 1)
            .iter()
            .map(|cut| cut + 1)
            .collect();
        cuts.sort_unstable();
        ArSteps {
            bounds: [vec![0], cuts, vec![n_tokens]].concat(),
        }
    }

    /// A split into `n_steps` groups of equal size, as nearly as possible; used for sampling.
    pub fn even(n_tokens: usize, n_steps: usize) -> Self {
        let n_steps = n_steps.clamp(1, n_tokens);
        ArSteps {
            bounds: (0..=n_steps).map(|i| i * n_tokens / n_steps).collect(),
        }
    }

    /// A split with these group sizes.
    pub fn of_sizes(sizes: &[usize]) -> Self {
        let mut bounds = vec![0];
        for size in sizes {
            bounds.push(bounds[bounds.len() - 1] + size);
        }
        ArSteps { bounds }
    }

    /// Number of steps.
    pub fn n_steps(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Number of tokens, `S`.
    pub fn n_tokens(&self) -> usize {
        self.bounds[self.n_steps()]
    }

    /// Number of tokens in all but the last step, `v` of Algorithm 2.
    pub fn n_visible(&self) -> usize {
        self.bounds[self.n_steps() - 1]
    }

    /// Positions of the tokens of a step.
    pub fn range(&self, step: usize) -> std::ops::Range<usize> {
        self.bounds[step]..self.bounds[step + 1]
    }

    /// Number of tokens per step.
    pub fn sizes(&self) -> Vec<usize> {
        self.bounds
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }

    /// The step of each token.
    pub fn step_of_token(&self) -> Vec<usize> {
        self.sizes()
            .iter()
            .enumerate()
            .flat_map(|(step, size)| vec![step; *size])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stage, generator};

    const N_DRAWS: usize = 40_000;

    fn counts(n_tokens: usize, alpha: f64) -> (Vec<usize>, Vec<usize>) {
        let mut rng = generator(3, Stage::TrainingStep, "ar", 0);
        let (mut n_steps, mut cuts) = (vec![0; n_tokens], vec![0; n_tokens]);
        for _ in 0..N_DRAWS {
            let split = ArSteps::draw(n_tokens, alpha, &mut rng);
            assert!(split.sizes().iter().all(|size| *size > 0));
            assert_eq!(split.n_tokens(), n_tokens);
            n_steps[split.n_steps() - 1] += 1;
            for cut in &split.bounds[1..split.n_steps()] {
                cuts[*cut] += 1;
            }
        }
        (n_steps, cuts)
    }

    #[test]
    fn the_number_of_steps_follows_the_truncated_geometric_distribution() {
        for alpha in [0.75, 0.9, 1.0] {
            let (n_steps, cuts) = counts(7, alpha);
            for (i, count) in n_steps.iter().enumerate() {
                let p = if alpha == 1.0 {
                    1.0 / 7.0
                } else {
                    (1.0 - alpha) / (1.0 - alpha.powi(7)) * alpha.powi(i as i32)
                };
                let sd = (N_DRAWS as f64 * p * (1.0 - p)).sqrt();
                assert!(
                    (*count as f64 - N_DRAWS as f64 * p).abs() < 4.5 * sd,
                    "alpha {alpha}, N = {}",
                    i + 1
                );
            }
            // Cut points: exchangeable over 1..S, so all are equally frequent; never at S.
            let total: usize = cuts.iter().sum();
            assert_eq!(cuts[0], 0);
            for count in &cuts[1..] {
                let p = 1.0 / 6.0;
                assert!((*count as f64 - total as f64 * p).abs() < 5.0 * (total as f64 * p).sqrt());
            }
        }
    }

    #[test]
    fn one_token_makes_one_step_and_even_splits_cover_all_tokens() {
        let mut rng = generator(3, Stage::TrainingStep, "ar", 0);
        assert_eq!(ArSteps::draw(1, 0.75, &mut rng).sizes(), [1]);
        assert_eq!(ArSteps::even(7, 3).sizes(), [2, 2, 3]);
        assert_eq!(ArSteps::even(2, 5).sizes(), [1, 1]);
        assert_eq!(
            ArSteps::of_sizes(&[2, 2, 3]).step_of_token(),
            [0, 0, 1, 1, 2, 2, 2]
        );
    }
}
