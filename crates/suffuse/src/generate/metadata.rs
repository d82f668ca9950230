//! Metadata of the samples to draw: those of random samples of the cohort, with what the user fixes.

use super::Cohort;
use crate::{Error, Result};
use rand::RngExt;
use suffuse_data::seeded::seeded;
use suffuse_data::{Column, ColumnValues};

/// A value that all samples are to have in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Name of the column.
    pub column: String,
    /// The value as text.
    pub value: String,
}

/// These columns of random samples of the cohort, each sample's from one of its group, with the fixed values in
/// their place. Samples that have the fixed values are preferred, so that the other columns go with them.
///
/// - `sizes`: samples to draw of each group; one group without a column of groups
///
/// # Errors
/// A column that the cohort does not have, a value that is no number where the column holds numbers, or one that
/// no sample has where it holds categories.
pub fn resampled(
    cohort: &Cohort,
    sizes: &[usize],
    columns: &[String],
    fixed: &[Fixed],
    seed: u64,
) -> Result<Vec<Column>> {
    let metadata = &cohort.table.sample_metadata;
    let all: Vec<usize> = (0..cohort.table.n_samples()).collect();
    let column = |name: &str| {
        metadata.column(name).ok_or_else(|| {
            let known: Vec<&str> = metadata.columns().iter().map(|c| c.name.as_str()).collect();
            Error::Usage(format!(
                "no metadata column {name:?}; there are: {}",
                match known.is_empty() {
                    true => "none (join a sheet with -m FILE)".to_string(),
                    false => known.join(", "),
                }
            ))
        })
    };
    for Fixed { column: name, .. } in fixed {
        if !columns.contains(name) {
            return Err(Error::Usage(format!(
                "--where {name}: samples are not conditioned on it; add it to --conditions"
            )));
        }
    }
    let has_fixed = |row: &usize| {
        fixed.iter().all(|fixed| {
            let found = metadata.column(&fixed.column);
            found.and_then(|found| found.values.text(*row)).as_ref() == Some(&fixed.value)
        })
    };
    let mut rng = seeded(seed, "generate/metadata");
    let mut rows = Vec::new();
    for (group, size) in sizes.iter().enumerate() {
        let of_group = cohort
            .groups
            .as_ref()
            .map_or(&all, |groups| &groups.rows[group]);
        let mut candidates: Vec<usize> = of_group.iter().copied().filter(has_fixed).collect();
        if candidates.is_empty() {
            candidates.clone_from(of_group);
        }
        rows.extend((0..*size).map(|_| Some(candidates[rng.random_range(0..candidates.len())])));
    }
    columns
        .iter()
        .map(|name| {
            let found = column(name)?;
            let own = fixed.iter().find(|fixed| fixed.column == *name);
            let values = match own {
                Some(fixed) => constant(found, &fixed.value, rows.len())?,
                None => found.values.take(&rows),
            };
            Ok(Column {
                name: name.clone(),
                values,
            })
        })
        .collect()
}

/// A column of one value, of the kind of another.
fn constant(like: &Column, value: &str, n: usize) -> Result<ColumnValues> {
    if let ColumnValues::Numeric(_) = like.values {
        let number = value.parse::<f64>().ok().filter(|x| x.is_finite());
        return match number {
            Some(number) => Ok(ColumnValues::Numeric(vec![number; n])),
            None => Err(Error::Usage(format!(
                "--where {}={value}: the column holds numbers; give one",
                like.name
            ))),
        };
    }
    let row = (0..like.values.len()).find(|row| like.values.text(*row).as_deref() == Some(value));
    match row {
        Some(row) => Ok(like.values.take(&vec![Some(row); n])),
        None => Err(Error::Usage(format!(
            "--where {}={value}: no sample to learn from has this value",
            like.name
        ))),
    }
}
