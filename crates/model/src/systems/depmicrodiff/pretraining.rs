//! Other cohorts to pre-train on: aligned to the target's features, and free of its samples.

use super::entries::{Cohort, Entries, Totals};
use super::objective::Source;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use suffuse_data::Table;
use suffuse_data::select::align_features;

/// The other cohorts on the target's features; features that a cohort lacks are not measured there.
///
/// # Errors
/// A cohort without a common feature, or with a sample of the target, by id or by content.
pub(super) fn aligned(target: &Cohort, others: &[Table]) -> Result<Vec<Source>> {
    let ids: HashSet<&str> = target
        .table
        .sample_ids()
        .iter()
        .map(String::as_str)
        .collect();
    let contents: HashSet<[u8; 32]> = (0..target.table.n_samples())
        .filter_map(|s| content(target.table, s))
        .collect();
    let mut sources = Vec::with_capacity(others.len());
    for (i, other) in others.iter().enumerate() {
        let table = i + 1;
        for (sample, id) in other.sample_ids().iter().enumerate() {
            let twice = |how| Error::TargetInPretraining {
                table,
                sample: id.clone(),
                how,
            };
            if ids.contains(id.as_str()) {
                return Err(twice("same id"));
            }
            if content(other, sample).is_some_and(|digest| contents.contains(&digest)) {
                return Err(twice("same content"));
            }
        }
        let (aligned, _) =
            align_features(other, target.table.feature_ids()).map_err(|error| match error {
                suffuse_data::Error::NoSharedIds { .. } => Error::NoCommonFeatures {
                    table,
                    n_features: target.table.n_features(),
                },
                other => Error::Data(other),
            })?;
        let cohort = Cohort {
            table: &aligned,
            hidden: &[],
            totals: Totals::OfWhatIsLeft,
            conditions: None,
            groups: None,
        };
        let entries = Entries::new(&cohort)?;
        let samples = entries.informative_samples();
        if !samples.is_empty() {
            sources.push(Source {
                entries,
                conditions: None,
                samples,
            });
        }
    }
    Ok(sources)
}

/// Digest of the non-zero entries of a sample by feature id; `None` for a sample with fewer than
/// three, which proves nothing.
fn content(table: &Table, sample: usize) -> Option<[u8; 32]> {
    let (columns, values) = table.row(sample);
    let mut entries: Vec<(&str, u64)> = columns
        .iter()
        .zip(values)
        .filter(|(_, value)| !value.is_nan())
        .map(|(column, value)| {
            (
                table.feature_ids()[*column as usize].as_str(),
                value.to_bits(),
            )
        })
        .collect();
    if entries.len() < 3 {
        return None;
    }
    entries.sort_unstable();
    let mut hash = Sha256::new();
    for (id, bits) in entries {
        hash.update(id.as_bytes());
        hash.update([0]);
        hash.update(bits.to_le_bytes());
    }
    Some(hash.finalize().into())
}
