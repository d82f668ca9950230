//! Zeros that the user knows to be true: entries that must never be filled.
//!
//! One entry per line of a text file: `sample<TAB>feature`, or `feature` alone for all samples.
//! Empty lines and lines that start with `#` are skipped.

use crate::Result;
use crate::input::read_text;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use suffuse_data::{Csr, Table};

/// Reads the entries, as `(sample, feature)` positions in `table`, sorted.
///
/// # Errors
/// A file that cannot be read, an id that is not in the table (with its line), an entry that the
/// table says is present.
pub fn read(path: &Path, table: &Table) -> Result<Vec<(u32, u32)>> {
    parse(&read_text(path)?, path, table)
}

/// [`apply()`] in the samples of which anything was measured. The others stay wholly missing: a visit that was missed is
/// filled as such, around its zeros.
///
/// # Errors
/// As [`apply()`].
pub fn apply_where_measured(table: &Table, entries: &[(u32, u32)]) -> Result<Table> {
    let is_measured = |sample: u32| {
        let (_, values) = table.row(sample as usize);
        values.iter().filter(|value| value.is_nan()).count() < table.n_features()
    };
    let mut measured = entries.to_vec();
    measured.retain(|(sample, _)| is_measured(*sample));
    apply(table, &measured)
}

/// The table with the listed entries known to be zero, also those that were not measured.
///
/// # Errors
/// None for entries that [`read`] returned for this table.
pub fn apply(table: &Table, entries: &[(u32, u32)]) -> Result<Table> {
    let is_zero =
        |sample: usize, column: u32| entries.binary_search(&(sample as u32, column)).is_ok();
    let mut csr = Csr {
        indptr: vec![0],
        ..Csr::default()
    };
    for sample in 0..table.n_samples() {
        let (columns, values) = table.row(sample);
        for (column, value) in columns.iter().zip(values) {
            if !is_zero(sample, *column) {
                csr.indices.push(*column);
                csr.values.push(*value);
            }
        }
        csr.indptr.push(csr.indices.len());
    }
    let mut applied = table.with_entries(csr)?;
    applied.layers = table.layers.clone();
    applied.obsm = table.obsm.clone();
    Ok(applied)
}

fn parse(text: &str, path: &Path, table: &Table) -> Result<Vec<(u32, u32)>> {
    let samples = positions(table.sample_ids());
    let features = positions(table.feature_ids());
    let mut entries = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let problem = |found: String, expected: &str| {
            suffuse_data::Error::format(path, format!("line {}", number + 1), found, expected)
        };
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        let (sample, feature) = match fields[..] {
            [feature] => (None, feature),
            [sample, feature] => (Some(sample), feature),
            _ => {
                let found = format!("{} fields", fields.len());
                return Err(problem(found, "`sample<TAB>feature` or `feature`").into());
            }
        };
        let column = *features
            .get(feature)
            .ok_or_else(|| problem(format!("feature {feature:?}"), "a feature id of the table"))?;
        let rows = match sample {
            None => 0..table.n_samples() as u32,
            Some(sample) => {
                let row = *samples.get(sample).ok_or_else(|| {
                    problem(format!("sample {sample:?}"), "a sample id of the table")
                })?;
                row..row + 1
            }
        };
        for row in rows {
            let value = table.get(row as usize, column as usize);
            if value > 0.0 {
                let found = format!(
                    "feature {feature:?}, which sample {:?} holds with value {value}",
                    table.sample_ids()[row as usize]
                );
                return Err(problem(found, "an entry that is zero or not measured").into());
            }
            entries.insert((row, column));
        }
    }
    Ok(entries.into_iter().collect())
}

fn positions(ids: &[String]) -> HashMap<&str, u32> {
    ids.iter()
        .enumerate()
        .map(|(position, id)| (id.as_str(), position as u32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        Table::from_dense(
            names("s", 2),
            names("t", 3),
            &[0.0, 1.0, 0.0, 0.0, 0.0, f64::NAN],
        )
        .unwrap()
    }

    #[test]
    fn a_line_names_one_entry_or_a_feature_of_all_samples() {
        let entries = parse("# known\ns1\tt1\n\nt2\r\n", Path::new("z"), &table()).unwrap();
        assert_eq!(entries, [(0, 2), (1, 1), (1, 2)]);
    }

    #[test]
    fn an_entry_that_was_not_measured_becomes_a_known_zero() {
        let applied = apply(&table(), &[(1, 2)]).unwrap();
        assert_eq!(applied.to_dense(), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let missed = [f64::NAN, f64::NAN, f64::NAN, 4.0];
        let missed = Table::from_dense(names("s", 2), names("t", 2), &missed).unwrap();
        let applied = apply_where_measured(&missed, &[(0, 0), (1, 0)]).unwrap();
        assert!(applied.to_dense()[..2].iter().all(|value| value.is_nan()));
        assert_eq!(applied.to_dense()[2..], [0.0, 4.0]);
    }

    #[test]
    fn unknown_ids_and_present_entries_are_refused_with_their_line() {
        let message = |text: &str| {
            parse(text, Path::new("z.txt"), &table())
                .unwrap_err()
                .to_string()
        };
        assert!(message("t0\nt9").contains("z.txt: line 2: found feature \"t9\""));
        assert!(message("s7\tt0").contains("found sample \"s7\""));
        assert!(message("s0\tt1").contains("with value 1"));
        assert!(message("a\tb\tc").contains("3 fields"));
    }
}
