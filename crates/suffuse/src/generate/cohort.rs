//! The samples that a generator is fitted to, in groups where asked.

use crate::{Error, Result};
use std::collections::BTreeMap;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::{Column, Table, select};

/// A table that a generator can be fitted to: measured throughout, each sample with a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Cohort {
    /// Samples x taxa.
    pub table: Table,
    /// The samples by the value of a metadata column, if they are to be told apart.
    pub groups: Option<Groups>,
    /// What was left out, a sentence each.
    pub notes: Vec<String>,
}

/// A metadata column that tells samples apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// The column, of the samples of the cohort.
    pub column: Column,
    /// Its values, sorted.
    pub levels: Vec<String>,
    /// Rows of each value, rising.
    pub rows: Vec<Vec<usize>>,
}

/// A column to tell samples apart by, and how many are generated of each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Name of the column.
    pub column: String,
    /// Shares of the values.
    pub balance: Balance,
}

/// How many samples are generated of each value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In proportion to the table.
    AsFitted,
    /// As many of each.
    Equal,
}

/// Fewest samples that a fit needs to learn how samples differ.
const MIN_SAMPLES: usize = 3;

impl Cohort {
    /// Leaves out samples without a read, and those without a value of the column `by`.
    ///
    /// # Errors
    /// Entries that were not measured; no column of this name; fewer than three samples to learn from, in
    /// all or of one value.
    pub fn new(table: &Table, by: Option<&By>) -> Result<Cohort> {
        refuse_unmeasured(table)?;
        let mut notes = Vec::new();
        let totals = table.totals();
        let values = match by {
            Some(by) => Some(values(table, &by.column)?),
            None => None,
        };
        let n_empty = totals.iter().filter(|total| **total == 0.0).count();
        if n_empty > 0 {
            notes.push(format!(
                "left out {n_empty} samples without a non-zero entry"
            ));
        }
        let has_value = |row: usize| values.as_ref().is_none_or(|values| values[row].is_some());
        let kept: Vec<usize> = (0..table.n_samples())
            .filter(|row| totals[*row] > 0.0 && has_value(*row))
            .collect();
        let n_without = table.n_samples() - n_empty - kept.len();
        if let Some(by) = by
            && n_without > 0
        {
            notes.push(format!(
                "left out {n_without} samples without a value of {:?}",
                by.column
            ));
        }
        if kept.len() < MIN_SAMPLES {
            return Err(Error::Table(format!(
                "found {} samples to learn from, expected at least {MIN_SAMPLES}: fewer tell nothing about how samples differ; {}",
                kept.len(),
                match notes.is_empty() {
                    true => "add samples".to_string(),
                    false => notes.join(", "),
                }
            )));
        }
        let table = match kept.len() == table.n_samples() {
            true => table.clone(),
            false => select::take_samples(table, &kept)?,
        };
        let groups = match (by, values) {
            (Some(by), Some(values)) => {
                let values = kept.iter().filter_map(|row| values[*row].clone());
                Some(Groups::new(&table, by, values)?)
            }
            _ => None,
        };
        Ok(Cohort {
            table,
            groups,
            notes,
        })
    }

    /// An entry that is no whole number: sample, feature, value.
    pub fn fraction(&self) -> Option<(&str, &str, f64)> {
        (0..self.table.n_samples()).find_map(|sample| {
            let (columns, values) = self.table.row(sample);
            let at = values.iter().position(|value| value.fract() != 0.0)?;
            Some((
                self.table.sample_ids()[sample].as_str(),
                self.table.feature_ids()[columns[at] as usize].as_str(),
                values[at],
            ))
        })
    }

    /// Number of samples to generate of each group; one group without a column.
    pub fn sizes(&self, n: usize, by: Option<&By>) -> Vec<usize> {
        match (&self.groups, by) {
            (Some(groups), Some(by)) => {
                let weights: Vec<usize> = match by.balance {
                    Balance::AsFitted => groups.rows.iter().map(Vec::len).collect(),
                    Balance::Equal => vec![1; groups.rows.len()],
                };
                in_proportion(&weights, n)
            }
            _ => vec![n],
        }
    }

    /// Values of the column of the groups of which no sample is to be generated.
    pub fn left_out(&self, sizes: &[usize]) -> Vec<String> {
        let Some(groups) = &self.groups else {
            return Vec::new();
        };
        let none = groups
            .rows
            .iter()
            .zip(sizes)
            .filter(|(_, size)| **size == 0);
        none.filter_map(|(rows, _)| groups.column.values.text(*rows.first()?))
            .collect()
    }

    /// The column of the groups for synthetic samples of these sizes, one group after the other.
    pub fn synthetic_column(&self, sizes: &[usize]) -> Option<Column> {
        let groups = self.groups.as_ref()?;
        let rows: Vec<Option<usize>> = (groups.rows.iter().zip(sizes))
            .flat_map(|(rows, size)| std::iter::repeat_n(rows.first().copied(), *size))
            .collect();
        Some(Column {
            name: groups.column.name.clone(),
            values: groups.column.values.take(&rows),
        })
    }
}

impl Groups {
    fn new(table: &Table, by: &By, values: impl Iterator<Item = String>) -> Result<Groups> {
        let mut rows_of: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (row, value) in values.enumerate() {
            rows_of.entry(value).or_default().push(row);
        }
        if let Some((value, rows)) = rows_of.iter().find(|(_, rows)| rows.len() < MIN_SAMPLES) {
            return Err(Error::Table(format!(
                "--by {}: found {} samples of {value:?}, expected at least {MIN_SAMPLES} of each value; merge it with another value, or leave it empty in the sheet of -m, and its samples are left out",
                by.column,
                rows.len()
            )));
        }
        let column = table
            .sample_metadata
            .column(&by.column)
            .expect("its values were read");
        Ok(Groups {
            column: column.clone(),
            levels: rows_of.keys().cloned().collect(),
            rows: rows_of.into_values().collect(),
        })
    }
}

fn values(table: &Table, name: &str) -> Result<Vec<Option<String>>> {
    let metadata = &table.sample_metadata;
    let Some(column) = metadata.column(name) else {
        return Err(Error::Usage(format!(
            "--by {name}: no metadata column of this name; {}",
            metadata.columns_in_words()
        )));
    };
    let value = |row| column.values.text(row).filter(|value| !is_missing(value));
    Ok((0..table.n_samples()).map(value).collect())
}

fn refuse_unmeasured(table: &Table) -> Result<()> {
    let (indptr, columns, values) = table.csr();
    match values.iter().position(|value| value.is_nan()) {
        None => Ok(()),
        Some(at) => Err(Error::Table(format!(
            "sample {:?}, feature {:?} was not measured (NaN): a generator needs every entry; fill it (`suffuse impute`), write 0 if it is absent, or leave the sample out",
            table.sample_ids()[indptr.partition_point(|start| *start <= at) - 1],
            table.feature_ids()[columns[at] as usize]
        ))),
    }
}

/// `n` in whole numbers in proportion to the weights, by largest remainders.
fn in_proportion(weights: &[usize], n: usize) -> Vec<usize> {
    let total: usize = weights.iter().sum();
    let mut sizes: Vec<usize> = weights.iter().map(|w| n * w / total).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(n * weights[*at] % total));
    let left = n - sizes.iter().sum::<usize>();
    order.iter().take(left).for_each(|at| sizes[*at] += 1);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_proportion_keep_their_sum() {
        assert_eq!(in_proportion(&[50, 30, 20], 10), [5, 3, 2]);
        // 3.33 each: the remainder goes to the first.
        assert_eq!(in_proportion(&[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(in_proportion(&[999, 1], 10), [10, 0]);
    }
}
