//! What a synthetic table gives away of the table that it was made from.
//!
//! ```text
//! train, hold-out, synthetic ─► same features? measured throughout? apart? ─► suffuse_stats::privacy
//! ```

use crate::{Error, Result};
use ndarray::Array2;
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use suffuse_data::{Table, select};
use suffuse_stats::privacy::{Counts, Privacy, Tables, privacy};

/// A table and the file that it came from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Named in errors.
    pub path: &'a Path,
    /// The table.
    pub table: &'a Table,
}

/// The three tables.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// What the generator was fitted to.
    pub train: Source<'a>,
    /// Samples that it never saw.
    pub holdout: Source<'a>,
    /// What it generated.
    pub synthetic: Source<'a>,
}

/// The figures, with what the user should know of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// The figures and the verdict.
    #[serde(flatten)]
    pub privacy: Privacy,
    /// Sentences.
    pub notes: Vec<String>,
}

/// A hold-out smaller than this rarely decides anything.
const FEW: usize = 100;

/// Compares the three tables. Features are matched by their ids, in any order.
///
/// # Errors
/// A table that lacks a feature of another, an entry that was not measured, a hold-out with samples of the
/// training table (by id), a table without a sample that has a non-zero entry.
pub fn assess(sources: &Sources<'_>, seed: u64) -> Result<Assessment> {
    let Sources {
        train,
        holdout,
        synthetic,
    } = *sources;
    require_apart(train, holdout)?;
    let features = train.table.feature_ids();
    let [train_values, holdout_values, synthetic_values] =
        [train, holdout, synthetic].map(|source| values(source, features, train.path));
    let found = privacy(
        &Tables {
            train: &train_values?,
            holdout: &holdout_values?,
            synthetic: &synthetic_values?,
        },
        seed,
    )?;
    let Counts {
        train,
        holdout,
        synthetic,
    } = found.n_empty;
    let mut notes = Vec::new();
    if train + holdout + synthetic > 0 {
        notes.push(format!(
            "left out samples without a non-zero entry: {train} of the training table, {holdout} of the hold-out, {synthetic} synthetic"
        ));
    }
    let fewest = found.n.holdout.min(found.n.train).min(found.n.synthetic);
    if fewest < FEW {
        notes.push(format!(
            "the smallest table has {fewest} samples: intervals are wide and little can be decided"
        ));
    }
    Ok(Assessment {
        privacy: found,
        notes,
    })
}

/// Refuses a hold-out that the generator saw.
fn require_apart(train: Source<'_>, holdout: Source<'_>) -> Result<()> {
    let known: HashSet<&String> = train.table.sample_ids().iter().collect();
    let ids = holdout.table.sample_ids();
    let mut shared = ids.iter().filter(|id| known.contains(id));
    match shared.next() {
        None => Ok(()),
        Some(first) => Err(Error::Table(format!(
            "found {} samples of the training table {} (the first is {first:?}), expected none: a hold-out holds samples that the generator never saw",
            1 + shared.count(),
            train.path.display()
        ))
        .in_file(holdout.path)),
    }
}

/// `[n_samples, n_features]` in the order of `features`.
fn values(source: Source<'_>, features: &[String], of: &Path) -> Result<Array2<f64>> {
    let in_file = |error: Error| error.in_file(source.path);
    let (table, report) = select::align_features(source.table, features)
        .map_err(|error| in_file(Error::from(error)))?;
    for (what, ids) in [("lacks", &report.missing), ("has besides", &report.dropped)] {
        if let Some(first) = ids.first() {
            return Err(in_file(Error::Table(format!(
                "{what} {} features of the {} of {} (the first is {first:?}); give tables over the same features",
                ids.len(),
                features.len(),
                of.display()
            ))));
        }
    }
    let values = table.to_dense();
    if let Some(at) = values.iter().position(|value| value.is_nan()) {
        return Err(in_file(Error::Table(format!(
            "sample {:?}, feature {:?} was not measured (NaN): distances need every entry; fill it or leave the sample out",
            table.sample_ids()[at / features.len()],
            features[at % features.len()]
        ))));
    }
    Ok(
        Array2::from_shape_vec((table.n_samples(), features.len()), values)
            .expect("a dense table has a value per sample and feature"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(prefix: &str, features: [&str; 2], dense: &[f64]) -> Table {
        let samples = (0..dense.len() / 2)
            .map(|i| format!("{prefix}{i}"))
            .collect();
        Table::from_dense(samples, features.map(String::from).to_vec(), dense).unwrap()
    }

    fn run(holdout: &Table, synthetic: &Table) -> Result<Assessment> {
        let train = table("a", ["x", "y"], &[1.0, 2.0, 5.0, 1.0, 3.0, 3.0]);
        let source = |name: &'static str, table| Source {
            path: Path::new(name),
            table,
        };
        let sources = Sources {
            train: source("train.tsv", &train),
            holdout: source("holdout.tsv", holdout),
            synthetic: source("synthetic.tsv", synthetic),
        };
        assess(&sources, 1)
    }

    #[test]
    fn features_are_matched_by_id() {
        let holdout = table("b", ["x", "y"], &[2.0, 2.5, 4.0, 1.5, 0.0, 0.0]);
        // The training samples, columns swapped.
        let synthetic = table("c", ["y", "x"], &[2.0, 1.0, 1.0, 5.0, 3.0, 3.0]);
        let found = run(&holdout, &synthetic).unwrap();
        assert_eq!(found.privacy.copies, 1.0);
        assert!(
            found.notes[0].contains("1 of the hold-out"),
            "{:?}",
            found.notes
        );
        assert!(
            found.notes[1].contains("has 2 samples"),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn tables_that_cannot_be_compared_are_refused_by_their_file() {
        let good = table("b", ["x", "y"], &[2.0, 2.5]);
        let message =
            |holdout: &Table, synthetic: &Table| run(holdout, synthetic).unwrap_err().to_string();
        let shared = message(&table("a", ["x", "y"], &[1.0, 1.0]), &good);
        assert!(shared.starts_with("holdout.tsv: found 1 samples") && shared.contains("\"a0\""));
        let other = message(&good, &table("c", ["x", "z"], &[1.0, 1.0]));
        assert!(other.starts_with("synthetic.tsv: lacks 1 features") && other.contains("\"y\""));
        let missing = message(&good, &table("c", ["x", "y"], &[1.0, f64::NAN]));
        assert!(
            missing.contains("\"c0\"") && missing.contains("\"y\""),
            "{missing}"
        );
        let empty = message(&good, &table("c", ["x", "y"], &[0.0, 0.0]));
        assert!(empty.contains("synthetic table"), "{empty}");
    }
}
