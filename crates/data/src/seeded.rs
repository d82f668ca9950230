//! Generators keyed by a seed and the purpose of the draw.

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use sha2::{Digest, Sha256};

/// A generator for one purpose, as in `seeded(seed, "hide")`.
///
/// Draws for different purposes or seeds are independent: the key is SHA-256 of both.
pub fn seeded(seed: u64, purpose: &str) -> ChaCha12Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(purpose)
        .finalize();
    ChaCha12Rng::from_seed(digest.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn seeds_and_purposes_give_their_own_streams() {
        let first = |seed, purpose| seeded(seed, purpose).next_u64();
        assert_eq!(first(1, "hide"), first(1, "hide"));
        assert_ne!(first(1, "hide"), first(2, "hide"));
        assert_ne!(first(1, "hide"), first(1, "split"));
    }
}
