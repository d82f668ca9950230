//! Completed tables of one draw each, on their way to their files: multiple imputation.

use crate::Result;
use crate::output::stem_and_ending;
use std::path::{Path, PathBuf};
use suffuse_data::format::h5ad::SpooledTable;
use suffuse_data::format::{Format, Overwrite, WriteOptions, write};
use suffuse_data::{Csr, Table};

/// Largest number of completed tables of a run: each h5ad among them keeps two files open.
pub const MAX_SETS: usize = 200;

/// Where the completed tables go: `out-01.tsv`, `out-02.tsv`, ... beside `out.tsv`.
pub fn paths(table: &Path, n_sets: usize) -> Vec<PathBuf> {
    (1..=n_sets).map(|set| path(table, set, n_sets)).collect()
}

/// Where table `set` of `n_sets` goes, counted from 1.
pub fn path(table: &Path, set: usize, n_sets: usize) -> PathBuf {
    let (stem, ending) = stem_and_ending(table);
    let width = n_sets.to_string().len().max(2);
    table.with_file_name(format!("{stem}-{set:0width$}{ending}"))
}

/// The samples of one table so far, which has no layers.
#[derive(Debug)]
pub(crate) enum Set {
    /// For an h5ad file: on disk.
    Spooled(Box<SpooledTable>),
    /// For the other formats: the entries that are not zero.
    Sparse(Csr),
}

impl Set {
    /// No samples yet of a table of this shape.
    pub(crate) fn new(path: &Path, shape: [usize; 2]) -> Result<Set> {
        Ok(match Format::of_output(path)? {
            Format::H5ad => Set::Spooled(Box::new(SpooledTable::new(path, shape, [])?)),
            _ => Set::Sparse(Csr {
                indptr: vec![0],
                ..Csr::default()
            }),
        })
    }

    pub(crate) fn push(&mut self, values: &[f64]) -> std::io::Result<()> {
        match self {
            Set::Spooled(spooled) => spooled.push(values, &[]),
            Set::Sparse(csr) => {
                push_row(csr, values);
                Ok(())
            }
        }
    }

    /// Writes the file: of `table` all but the entries.
    pub(crate) fn write(self, table: &Table, path: &Path, overwrite: Overwrite) -> Result<()> {
        match self {
            Set::Spooled(spooled) => spooled.write(table, path, overwrite)?,
            Set::Sparse(csr) => {
                let options = WriteOptions {
                    overwrite,
                    ..WriteOptions::default()
                };
                write(&table.with_entries(csr)?, path, &options)?;
            }
        }
        Ok(())
    }
}

/// Adds a row of dense values.
pub(super) fn push_row(csr: &mut Csr, values: &[f64]) {
    for (column, value) in (0u32..).zip(values) {
        if *value != 0.0 {
            csr.indices.push(column);
            csr.values.push(*value);
        }
    }
    csr.indptr.push(csr.indices.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_numbered_before_the_ending_with_digits_that_sort() {
        let names = |table: &str, n| {
            let name = |path: PathBuf| path.display().to_string();
            paths(Path::new(table), n)
                .into_iter()
                .map(name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("a/out.tsv.gz", 2),
            ["a/out-01.tsv.gz", "a/out-02.tsv.gz"]
        );
        assert_eq!(names("v1.2.biom.json", 1), ["v1.2-01.biom.json"]);
        let many = names("out.h5ad", 100);
        assert_eq!((&*many[0], &*many[99]), ("out-001.h5ad", "out-100.h5ad"));
        assert!(many.is_sorted());
    }
}
