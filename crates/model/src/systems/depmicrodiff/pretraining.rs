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
/// Samples with the content of a sample of the target are left out: in sparse tables a few samples
/// agree by chance.
///
/// # Errors
/// A cohort without a common feature, with the id of a sample of the target, or most of whose
/// samples have the content of one.
pub(super) fn aligned(target: &Cohort, others: &[Table]) -> Result<Vec<Source>> {
    let target = target.table;
    let ids: HashSet<&str> = target.sample_ids().iter().map(String::as_str).collect();
    let contents: HashSet<[u8; 32]> = (0..target.n_samples())
        .filter_map(|sample| content(target, sample))
        .collect();
    let mut sources = Vec::with_capacity(others.len());
    for (i, other) in others.iter().enumerate() {
        let table = i + 1;
        let twice = |sample: &str, how| Error::TargetInPretraining {
            table,
            sample: sample.to_string(),
            how,
        };
        if let Some(id) = other
            .sample_ids()
            .iter()
            .find(|id| ids.contains(id.as_str()))
        {
            return Err(twice(id, "same id"));
        }
        let (aligned, _) =
            align_features(other, target.feature_ids()).map_err(|error| match error {
                suffuse_data::Error::NoSharedIds { .. } => Error::NoCommonFeatures {
                    table,
                    n_features: target.n_features(),
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
        let (twins, samples): (Vec<usize>, Vec<usize>) = entries
            .informative_samples()
            .into_iter()
            .partition(|sample| {
                content(&aligned, *sample).is_some_and(|digest| contents.contains(&digest))
            });
        if twins.len() > samples.len() {
            return Err(twice(&aligned.sample_ids()[twins[0]], "same content"));
        }
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

/// Digest of the composition of a sample by feature id, the same for counts and percent; `None` for
/// a sample with fewer than three non-zero entries, which proves nothing.
fn content(table: &Table, sample: usize) -> Option<[u8; 32]> {
    let (columns, values) = table.row(sample);
    let measured = || {
        columns
            .iter()
            .zip(values)
            .filter(|(_, value)| **value > 0.0)
    };
    let total: f64 = measured().map(|(_, value)| value).sum();
    let mut entries: Vec<(&str, String)> = measured()
        .map(|(column, value)| {
            let id = table.feature_ids()[*column as usize].as_str();
            (id, format!("{:.4e}", value / total))
        })
        .collect();
    if entries.len() < 3 {
        return None;
    }
    entries.sort_unstable();
    let mut hash = Sha256::new();
    for (id, share) in entries {
        hash.update(id.as_bytes());
        hash.update([0]);
        hash.update(share.as_bytes());
        hash.update([0]);
    }
    Some(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(prefix: &str, rows: &[[f64; 4]]) -> Table {
        let ids = (0..rows.len()).map(|i| format!("{prefix}{i}")).collect();
        let features = ["a", "b", "c", "d"].map(str::to_string).to_vec();
        Table::from_dense(ids, features, rows.as_flattened()).unwrap()
    }

    fn cohort(table: &Table) -> Cohort<'_> {
        Cohort {
            table,
            hidden: &[],
            totals: Totals::OfWhatIsLeft,
            conditions: None,
            groups: None,
        }
    }

    const ROWS: [[f64; 4]; 3] = [
        [1.0, 2.0, 5.0, 0.0],
        [3.0, 0.0, 1.0, 1.0],
        [0.0, 2.0, 2.0, 7.0],
    ];

    #[test]
    fn a_sample_that_agrees_by_chance_is_left_out_and_the_rest_is_used() {
        let target = table("t", &ROWS);
        let other = table("o", &[ROWS[1], [9.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]]);
        let sources = aligned(&cohort(&target), &[other]).unwrap();
        assert_eq!(sources[0].samples, [1, 2]);
    }

    #[test]
    fn the_target_under_new_ids_is_refused_also_in_percent() {
        let target = table("t", &ROWS);
        let percent = ROWS.map(|row| row.map(|x| 100.0 * x / row.iter().sum::<f64>()));
        let error = aligned(&cohort(&target), &[table("o", &percent)]).unwrap_err();
        assert!(error.to_string().contains("same content"), "{error}");
        let error = aligned(&cohort(&target), &[table("t", &[[1.0; 4]])]).unwrap_err();
        assert!(error.to_string().contains("same id"), "{error}");
    }
}
