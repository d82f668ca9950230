//! Other cohorts to pre-train on: aligned to the target's features, and free of its samples.

use super::entries::{Cohort, Entries};
use super::objective::Source;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::collections::HashSet;
use suffuse_data::Table;
use suffuse_data::select::{align_features, feature_positions, take_features};

/// Two samples are the same when their compositions over the shared features differ by less than this
/// in sum: rounding in an export does not hide a sample.
const SAME: f64 = 1e-3;
/// Fewest non-zero entries of a sample whose composition proves something.
const MIN_PRESENT: usize = 3;

/// The other cohorts on the target's features; features that a cohort lacks are not measured there.
///
/// Samples with the composition of a sample of the target are left out: in sparse tables a few agree
/// by chance.
///
/// Their samples are dealt to `n_folds` folds in turn.
///
/// # Errors
/// A cohort without a common feature, with the id of a sample of the target, or most of whose
/// samples have the composition of one.
pub(super) fn aligned(
    target: &Cohort,
    others: &[Table],
    n_folds: usize,
) -> Result<Vec<Source<'static>>> {
    let target = target.table;
    let ids: HashSet<&str> = target.sample_ids().iter().map(String::as_str).collect();
    let mut sources = Vec::with_capacity(others.len());
    for (i, other) in others.iter().enumerate() {
        let table = i + 1;
        let twice = |sample: &str, how| Error::TargetInPretraining {
            table,
            sample: sample.to_string(),
            how,
        };
        let mut other_ids = other.sample_ids().iter();
        if let Some(id) = other_ids.find(|id| ids.contains(id.as_str())) {
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
        let entries = Entries::of_table(aligned);
        let is_twin = twins(target, other)?;
        let (twins, samples): (Vec<usize>, Vec<usize>) = entries
            .informative_samples()
            .into_iter()
            .partition(|sample| is_twin[*sample]);
        if twins.len() > samples.len() {
            return Err(twice(entries.sample_id(twins[0]), "same content"));
        }
        if !samples.is_empty() {
            sources.push(Source {
                folds: (0..entries.n_samples())
                    .map(|sample| sample % n_folds.max(1))
                    .collect(),
                entries,
                conditions: None,
                samples,
            });
        }
    }
    Ok(sources)
}

/// Says for each sample of `other` whether the target has one of the same composition.
fn twins(target: &Table, other: &Table) -> Result<Vec<bool>> {
    let known: HashSet<&String> = other.feature_ids().iter().collect();
    let ids = target.feature_ids().iter();
    let shared: Vec<&String> = ids.filter(|id| known.contains(id)).collect();
    let own = compositions(target, &shared)?;
    let theirs = compositions(other, &shared)?;
    let own: Vec<&Vec<f64>> = own.iter().flatten().collect();
    let is_twin = |sample: &Option<Vec<f64>>| match sample {
        Some(sample) => own.iter().any(|own| is_same(own, sample)),
        None => false,
    };
    Ok(theirs.par_iter().map(is_twin).collect())
}

/// The shares of these features in each sample; `None` for a sample with too little to compare.
fn compositions(table: &Table, features: &[&String]) -> Result<Vec<Option<Vec<f64>>>> {
    let positions = feature_positions(table, features)?;
    let table = take_features(table, &positions)?;
    let dense = table.to_dense();
    let rows = dense.chunks_exact(features.len().max(1));
    let shares = |row: &[f64]| {
        let measured = |x: &f64| if *x > 0.0 { *x } else { 0.0 }; // NaN is not measured
        let n_present = row.iter().filter(|x| **x > 0.0).count();
        let total: f64 = row.iter().map(measured).sum();
        (n_present >= MIN_PRESENT).then(|| row.iter().map(|x| measured(x) / total).collect())
    };
    Ok(rows.map(shares).collect())
}

fn is_same(a: &[f64], b: &[f64]) -> bool {
    let mut difference = 0.0;
    for (a, b) in a.iter().zip(b) {
        difference += (a - b).abs();
        if difference >= SAME {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::depmicrodiff::Totals;

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
            times: None,
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
        let sources = aligned(&cohort(&target), &[other], 2).unwrap();
        assert_eq!(sources[0].samples, [1, 2]);
    }

    #[test]
    fn the_target_under_new_ids_is_refused_also_in_percent() {
        let target = table("t", &ROWS);
        let percent = ROWS.map(|row| {
            let total: f64 = row.iter().sum();
            row.map(|x| (1e4 * x / total).round() / 100.0) // two decimals
        });
        let error = aligned(&cohort(&target), &[table("o", &percent)], 2).unwrap_err();
        assert!(error.to_string().contains("same content"), "{error}");
        // Without the first taxon, the samples that keep three others are still recognised.
        let fewer: Vec<f64> = percent.iter().flat_map(|row| row[1..].to_vec()).collect();
        let names = ["b", "c", "d"].map(str::to_string).to_vec();
        let ids = (0..3).map(|i| format!("o{i}")).collect();
        let fewer = Table::from_dense(ids, names, &fewer).unwrap();
        assert_eq!(twins(&target, &fewer).unwrap(), [false, false, true]);
        let error = aligned(&cohort(&target), &[table("t", &[[1.0; 4]])], 2).unwrap_err();
        assert!(error.to_string().contains("same id"), "{error}");
    }
}
