//! Random numbers keyed by what they are for, so that no draw depends on the order of others.
//!
//! Every generator is a ChaCha stream whose key is the SHA-256 of (seed, stage, sample, number).
//! A sample therefore gets the same noise in any batch, order or thread.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// What a stream of random numbers is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Initial weights, keyed by parameter path.
    InitialWeights,
    /// Which samples form a training step.
    Batch,
    /// What is hidden, which timesteps and which noise a training step uses.
    TrainingStep,
    /// Which samples and entries validate.
    Validation,
    /// Noise of the reverse process, keyed by sample id and draw.
    Sampling,
    /// Order and sizes of the autoregressive steps at sampling.
    TokenOrder,
    /// Hidden copies of the table from which the dependencies are estimated.
    Dependencies,
    /// Start and steps of the fit of hyperbolic taxon embeddings.
    TaxonEmbedding,
}

/// A generator for one purpose: `text` is a sample id or a parameter path, `number` a step or draw.
pub fn generator(seed: u64, stage: Stage, text: &str, number: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update([stage as u8]);
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
    hash.update(number.to_le_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// `n` draws from N(0, 1).
pub fn standard_normal(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| StandardNormal.sample(rng)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_keys_differ_and_of_equal_keys_agree() {
        let draw = |seed, stage, text: &str, number| {
            standard_normal(&mut generator(seed, stage, text, number), 4)
        };
        let first = draw(1, Stage::Sampling, "a", 0);
        assert_eq!(first, draw(1, Stage::Sampling, "a", 0));
        assert_ne!(first, draw(2, Stage::Sampling, "a", 0));
        assert_ne!(first, draw(1, Stage::TrainingStep, "a", 0));
        assert_ne!(first, draw(1, Stage::Sampling, "b", 0));
        assert_ne!(first, draw(1, Stage::Sampling, "a", 1));
    }
}
