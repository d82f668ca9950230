//! Which compositions a model was fitted to, as digests: how a generated sample is recognised that repeats one.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use suffuse_data::Table;

/// Digests of compositions, 64 bits of SHA-256 each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fingerprints(BTreeSet<u64>);

impl Fingerprints {
    /// Those of the samples of a table that have a non-zero entry.
    pub(super) fn of(table: &Table) -> Fingerprints {
        let rows = (0..table.n_samples()).map(|row| table.row(row));
        Fingerprints(
            rows.filter_map(|(taxa, values)| digest(taxa, values))
                .collect(),
        )
    }

    /// Says whether a sample has one of the compositions, to the last bit of its relative abundances.
    ///
    /// - `taxa`: columns, rising
    /// - `values`: abundance of each, in any unit
    pub(super) fn contain(&self, taxa: &[u32], values: &[f64]) -> bool {
        digest(taxa, values).is_some_and(|digest| self.0.contains(&digest))
    }
}

/// `None` of a sample without a non-zero entry: it has no composition.
fn digest(taxa: &[u32], values: &[f64]) -> Option<u64> {
    let total: f64 = values.iter().sum();
    let mut hash = Sha256::new();
    for (taxon, value) in taxa.iter().zip(values).filter(|(_, value)| **value != 0.0) {
        hash.update(taxon.to_le_bytes());
        hash.update((value / total).to_bits().to_le_bytes());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    let first = bytes.first_chunk().copied().map(u64::from_le_bytes);
    first.filter(|_| total > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composition_is_known_in_any_unit_and_no_other_is() {
        let ids = |letter: &str, n: usize| (1..=n).map(|i| format!("{letter}{i}")).collect();
        let dense = [2.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0];
        let table = Table::from_dense(ids("s", 3), ids("t", 3), &dense).expect("the shape fits");
        let known = Fingerprints::of(&table);
        assert_eq!(known.0.len(), 2, "the sample of zeros has no composition");
        assert!(known.contain(&[0, 2], &[1.0, 3.0]));
        assert!(known.contain(&[0, 1, 2], &[50.0, 0.0, 150.0]));
        assert!(known.contain(&[1], &[1.0]));
        assert!(!known.contain(&[0, 2], &[3.0, 1.0]));
        assert!(!known.contain(&[0, 1], &[1.0, 3.0]));
        assert!(!known.contain(&[0], &[1.0]));
        assert!(!known.contain(&[], &[]));
        // The first bytes of SHA-256 of taxon 1 (32 bits) and 1.0 (64 bits), as Python's hashlib has them.
        assert_eq!(digest(&[1], &[7.0]), Some(0xd347_0b23_2a77_4a1f));
    }
}
