//! Generated samples on their way to their files.

use super::alterations::truth_tsv;
use super::{Changed, Cohort, Counts, Known};
use crate::impute::sets::Set;
use crate::output::{beside, require_writable, write_text};
use crate::provenance::Provenance;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use suffuse_data::format::{Format, Overwrite};
use suffuse_data::{Csr, Metadata, Table, metadata_tsv};
use suffuse_stats::generate::SparseRow;

/// The files of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// The table.
    pub table: PathBuf,
    /// How it was made; an h5ad holds it itself.
    pub record: Option<PathBuf>,
    /// Metadata of the samples.
    pub metadata: Option<PathBuf>,
    /// Known associations.
    pub truth: Option<PathBuf>,
    /// What happens to files that are there already.
    pub overwrite: Overwrite,
}

/// Which files a run writes beside the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside<'a> {
    /// Where metadata of the samples are written to, if told.
    pub metadata: Option<&'a Path>,
    /// Says whether the samples have metadata.
    pub has_metadata: bool,
    /// Where known associations are written to, if told.
    pub truth: Option<&'a Path>,
    /// Says whether there are any.
    pub has_truth: bool,
}

impl Files {
    /// Names the files and makes sure that they can be written. Metadata that the format of the table cannot
    /// hold are written beside it, as are known associations.
    ///
    /// # Errors
    /// A table of unknown format; two files of one name; a file that exists and may not be replaced, or cannot
    /// be written.
    pub fn new(table: &Path, wanted: Beside<'_>, overwrite: Overwrite) -> Result<Files> {
        let holds_all = Format::of_output(table)? == Format::H5ad;
        let or_beside = |told: Option<&Path>, is_needed: bool, suffix: &str| match told {
            Some(path) => Some(path.to_path_buf()),
            None => is_needed.then(|| beside(table, suffix)),
        };
        let needs_sheet = wanted.has_metadata && !holds_all;
        let files = Files {
            table: table.to_path_buf(),
            record: (!holds_all).then(|| beside(table, ".suffuse.json")),
            metadata: or_beside(wanted.metadata, needs_sheet, ".metadata.tsv"),
            truth: or_beside(wanted.truth, wanted.has_truth, ".truth.tsv"),
            overwrite,
        };
        let paths: Vec<&PathBuf> = files.paths().collect();
        for (at, path) in paths.iter().enumerate() {
            if paths[..at].contains(path) {
                return Err(Error::Usage(format!(
                    "{}: this is the name of two outputs; choose different ones",
                    path.display()
                )));
            }
            require_writable(path, overwrite)?;
        }
        Ok(files)
    }

    /// The table first.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let others = [&self.metadata, &self.truth, &self.record];
        std::iter::once(&self.table).chain(others.into_iter().flatten())
    }
}

/// Takes in samples: on disk for an h5ad, sparse for other formats.
pub(super) struct Sink<'a> {
    files: &'a Files,
    set: Set,
    dense: Vec<f64>,
    counts: Counts,
}

impl<'a> Sink<'a> {
    pub(super) fn new(files: &'a Files, shape: [usize; 2]) -> Result<Sink<'a>> {
        let [_, n_features] = shape;
        Ok(Sink {
            files,
            set: Set::new(&files.table, shape)?,
            dense: vec![0.0; n_features],
            counts: Counts {
                n_features,
                ..Counts::default()
            },
        })
    }

    pub(super) fn push(&mut self, row: &SparseRow) -> Result<()> {
        self.dense.fill(0.0);
        for (column, count) in row.columns.iter().zip(&row.counts) {
            self.dense[*column as usize] = *count;
        }
        self.counts.n_samples += 1;
        self.counts.n_nonzero += row.columns.len();
        self.counts.n_reads += row.total();
        self.set
            .push(&self.dense)
            .map_err(|error| Error::io(&self.files.table, "write", error))
    }

    pub(super) fn finish(
        self,
        cohort: &Cohort,
        metadata: Metadata,
        changed: Vec<Changed>,
        known: Vec<Known>,
    ) -> Result<Generated> {
        let no_entries = Csr {
            indptr: vec![0; self.counts.n_samples + 1],
            ..Csr::default()
        };
        let real = &cohort.table;
        let ids = metadata.ids().to_vec();
        let mut table = Table::new(ids, real.feature_ids().to_vec(), no_entries)?;
        table.sample_metadata = metadata;
        table.feature_metadata = real.feature_metadata.clone();
        table.taxonomy = real.taxonomy.clone();
        Ok(Generated {
            set: self.set,
            table,
            counts: self.counts,
            changed,
            known,
        })
    }
}

/// Samples that were generated and stand ready to be written.
#[derive(Debug)]
pub struct Generated {
    /// Entries.
    set: Set,
    /// All but the entries.
    table: Table,
    /// What was generated.
    pub counts: Counts,
    /// Prevalences that were set and means that were scaled.
    pub changed: Vec<Changed>,
    /// Known associations.
    pub known: Vec<Known>,
}

impl Generated {
    /// Writes the files: all of them, or none.
    ///
    /// # Errors
    /// A file that cannot be written; what was written before it is removed.
    pub fn write(self, files: &Files, provenance: &Provenance) -> Result<()> {
        let mut written = Vec::new();
        let result = self.write_in_order(files, provenance, &mut written);
        if result.is_err() {
            for path in written {
                // What stopped the writing is the error to tell; this can but be tried.
                let _ = match path.is_dir() {
                    true => std::fs::remove_dir_all(path),
                    false => std::fs::remove_file(path),
                };
            }
        }
        result
    }

    fn write_in_order<'a>(
        self,
        files: &'a Files,
        provenance: &Provenance,
        written: &mut Vec<&'a Path>,
    ) -> Result<()> {
        let Generated {
            set,
            mut table,
            known,
            ..
        } = self;
        let record = provenance.to_json();
        table.uns.insert("suffuse".to_string(), record.clone());
        set.write(&table, &files.table, files.overwrite)?;
        written.push(&files.table);
        if let Some(path) = &files.metadata {
            metadata_tsv::write(path, &table.sample_metadata, files.overwrite)?;
            written.push(path);
        }
        if let Some(path) = &files.truth {
            write_text(path, files.overwrite, &truth_tsv(&known))?;
            written.push(path);
        }
        if let Some(path) = &files.record {
            write_text(path, files.overwrite, &format!("{record:#}\n"))?;
            written.push(path);
        }
        Ok(())
    }
}
