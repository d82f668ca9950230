//! Other cohorts to pre-train on: aligned to the target's features, and free of its samples.

use super::entries::{Cohort, Entries, Totals};
use super::fit::Source;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use suffuse_data::{Csr, Table};

/// The other cohorts on the target's features; features that a cohort lacks are not measured there.
///
/// # Errors
/// A cohort without a common feature, or with a sample of the target, by id or by content.
pub(super) fn aligned(target: &Cohort, others: &[Table]) -> Result<Vec<Source>> {
    let ids: HashSet<&str> = target.table.sample_ids().iter().map(String::as_str).collect();
    let contents: HashSet<[u8; 32]> = (0..target.table.n_samples()).filter_map(|s| content(target.table, s)).collect();
    let mut sources = Vec::with_capacity(others.len());
    for (i, other) in others.iter().enumerate() {
        let table = i + 1;
        for (sample, id) in other.sample_ids().iter().enumerate() {
            let twice = |how| Error::TargetInPretraining { table, sample: id.clone(), how };
            if ids.contains(id.as_str()) {
                return Err(twice("same id"));
            }
            if content(other, sample).is_some_and(|digest| contents.contains(&digest)) {
                return Err(twice("same content"));
            }
        }
        let aligned = align(other, target.table.feature_ids())
            .ok_or(Error::NoCommonFeatures { table, n_features: target.table.n_features() })?;
        let cohort = Cohort { table: &aligned, hidden: &[], totals: Totals::OfWhatIsLeft, conditions: None, groups: None };
        let entries = Entries::new(&cohort)?;
        let samples = entries.informative_samples();
        if !samples.is_empty() {
            sources.push(Source { entries, conditions: None, samples });
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
        .map(|(column, value)| (table.feature_ids()[*column as usize].as_str(), value.to_bits()))
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

fn align(table: &Table, feature_ids: &[String]) -> Option<Table> {
    let position: HashMap<&str, usize> = table.feature_ids().iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let source: Vec<Option<usize>> = feature_ids.iter().map(|id| position.get(id.as_str()).copied()).collect();
    source.iter().flatten().next()?;
    let mut csr = Csr { indptr: vec![0], ..Csr::default() };
    for sample in 0..table.n_samples() {
        for (column, source) in source.iter().enumerate() {
            let value = source.map_or(f64::NAN, |source| table.get(sample, source));
            if value != 0.0 {
                csr.indices.push(column as u32);
                csr.values.push(value);
            }
        }
        csr.indptr.push(csr.indices.len());
    }
    Some(Table::new(table.sample_ids().to_vec(), feature_ids.to_vec(), csr).expect("ids and values come from valid tables"))
}
