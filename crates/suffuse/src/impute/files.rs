//! A completed table on its way to its files, sample by sample: it never stands in memory densely.

use super::{Completed, CompletedSample, Counts, FILLED_HEADER, LAYERS, MEANINGS, complete};
use crate::output::{beside, require_writable, write_text};
use crate::provenance::Provenance;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use suffuse_data::format::h5ad::{LayerKind, LayerRow, SpooledTable};
use suffuse_data::format::{self, Format, Overwrite, WriteOptions, write_atomically};
use suffuse_data::nested::Sum;
use suffuse_data::{Csr, Table, select};
use suffuse_model::systems::depmicrodiff::Block;

/// The files of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// The completed table.
    pub table: PathBuf,
    /// Record and list of filled entries; an h5ad holds both itself.
    pub beside: Option<(PathBuf, PathBuf)>,
    /// What happens to files that are there already.
    pub overwrite: Overwrite,
}

impl Files {
    /// Names the files and makes sure that they can be written.
    ///
    /// # Errors
    /// A table of unknown format; a file that exists and may not be replaced, or cannot be written.
    pub fn of_table(table: &Path, overwrite: Overwrite) -> Result<Files> {
        let beside = match Format::of_output(table)? {
            Format::H5ad => None,
            _ => Some((beside(table, ".suffuse.json"), beside(table, ".filled.tsv"))),
        };
        let files = Files {
            table: table.to_path_buf(),
            beside,
            overwrite,
        };
        for path in files.paths() {
            require_writable(path, overwrite)?;
        }
        Ok(files)
    }

    /// The table first.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let beside = self
            .beside
            .iter()
            .flat_map(|(record, filled)| [record, filled]);
        std::iter::once(&self.table).chain(beside)
    }

    /// Writes a table that stands in memory.
    ///
    /// # Errors
    /// A file that cannot be written; it is then not there.
    pub fn write(&self, completed: &mut Completed, provenance: &Provenance) -> Result<()> {
        completed.set_provenance(provenance);
        self.write_table(&completed.table)?;
        if let Some((record, filled)) = &self.beside {
            self.write_record(record, provenance)?;
            write_text(filled, self.overwrite, &completed.filled_tsv())?;
        }
        Ok(())
    }

    fn write_table(&self, table: &Table) -> Result<()> {
        let options = WriteOptions {
            overwrite: self.overwrite,
            ..WriteOptions::default()
        };
        Ok(format::write(table, &self.table, &options)?)
    }

    fn write_record(&self, path: &Path, provenance: &Provenance) -> Result<()> {
        write_text(
            path,
            self.overwrite,
            &format!("{:#}\n", provenance.to_json()),
        )
    }
}

/// Takes in the samples that a model completed, and writes them in the end.
#[derive(Debug)]
pub struct Filling<'a> {
    files: &'a Files,
    /// Where each feature of the output stands in the model's table, if they differ.
    positions: Option<Vec<usize>>,
    /// Parents that are set to the sum of their children, in the model's table.
    sums: &'a [Sum],
    counts: Counts,
    taken: Taken,
}

/// The samples so far.
#[derive(Debug)]
enum Taken {
    /// For an h5ad file: on disk.
    Spooled(Box<SpooledTable>),
    /// For the other formats, which have no layers: their entries, and on disk the list of those
    /// that were filled.
    Sparse(Csr, BufWriter<File>),
}

impl<'a> Filling<'a> {
    /// No samples yet of `table`; the output has its features in the order of `feature_ids`.
    ///
    /// # Errors
    /// Ids that the table lacks, a folder that cannot be written to.
    pub fn new(files: &'a Files, table: &Table, feature_ids: &[String]) -> Result<Filling<'a>> {
        let positions = match table.feature_ids() == feature_ids {
            true => None,
            false => Some(select::feature_positions(table, feature_ids)?),
        };
        let taken = match &files.beside {
            None => {
                let numbers = LAYERS.map(|name| (name.to_string(), LayerKind::Numbers));
                let meanings = MEANINGS.map(String::from).to_vec();
                let action = ("action".to_string(), LayerKind::Codes(meanings));
                let shape = [table.n_samples(), table.n_features()];
                let layers = numbers.into_iter().chain([action]);
                Taken::Spooled(Box::new(SpooledTable::new(&files.table, shape, layers)?))
            }
            Some((_, filled)) => {
                let folder = match filled.parent() {
                    Some(folder) if folder != Path::new("") => folder,
                    _ => Path::new("."),
                };
                let file = tempfile::tempfile_in(folder)
                    .map_err(|error| Error::io(filled, "write", error))?;
                let csr = Csr {
                    indptr: vec![0],
                    ..Csr::default()
                };
                Taken::Sparse(csr, BufWriter::new(file))
            }
        };
        Ok(Filling {
            files,
            positions,
            sums: &[],
            counts: Counts::default(),
            taken,
        })
    }

    /// Sets filled parents to the sum of their children; positions are those of the model's table.
    pub fn reconciling(self, sums: &'a [Sum]) -> Filling<'a> {
        Filling { sums, ..self }
    }

    /// Takes in a block of samples of `table`.
    ///
    /// # Errors
    /// As [`complete`], and no room left on the disk.
    pub fn take(&mut self, table: &Table, block: &Block) -> Result<()> {
        let Filling {
            files,
            positions,
            sums,
            counts,
            taken,
        } = self;
        complete(
            table,
            block.first_sample,
            &block.filled,
            sums,
            counts,
            |sample| {
                let arranged = positions
                    .as_ref()
                    .map(|positions| arranged(sample, positions));
                let sample = arranged.as_ref().unwrap_or(sample);
                let feature_id = |feature: usize| {
                    let feature = positions.as_ref().map_or(feature, |p| p[feature]);
                    &table.feature_ids()[feature]
                };
                taken
                    .push(sample, &table.sample_ids()[sample.sample], feature_id)
                    .map_err(|error| Error::io(&files.table, "write", error))
            },
        )
    }

    /// Fates of the entries so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes the files: of `table`, which the model was given, all but the entries.
    ///
    /// # Errors
    /// A file that cannot be written; it is then not there.
    pub fn write(self, mut table: Table, provenance: &Provenance) -> Result<()> {
        let files = self.files;
        if let Some(positions) = &self.positions {
            table = select::take_features(&table, positions)?;
        }
        table
            .uns
            .insert("suffuse".to_string(), provenance.to_json());
        // The table first: what describes it must not stand there without it.
        match self.taken {
            Taken::Spooled(spooled) => Ok(spooled.write(&table, &files.table, files.overwrite)?),
            Taken::Sparse(csr, filled) => {
                files.write_table(&table.with_entries(csr)?)?;
                let Some((record, path)) = &files.beside else {
                    return Ok(());
                };
                files.write_record(record, provenance)?;
                let io = |error| Error::io(path, "write", error);
                let mut filled = filled
                    .into_inner()
                    .map_err(|error| io(error.into_error()))?;
                filled.rewind().map_err(io)?;
                write_atomically(path, files.overwrite, |sink| {
                    sink.write_all(FILLED_HEADER.as_bytes())?;
                    std::io::copy(&mut filled, sink).map(drop)
                })?;
                Ok(())
            }
        }
    }
}

impl Taken {
    fn push<'b>(
        &mut self,
        sample: &CompletedSample,
        sample_id: &str,
        feature_id: impl Fn(usize) -> &'b String,
    ) -> std::io::Result<()> {
        match self {
            Taken::Spooled(spooled) => spooled.push(
                &sample.value,
                &[
                    LayerRow::Numbers(&sample.lower),
                    LayerRow::Numbers(&sample.upper),
                    LayerRow::Numbers(&sample.presence),
                    LayerRow::Codes(&sample.done),
                ],
            ),
            Taken::Sparse(csr, filled) => {
                for (column, value) in (0u32..).zip(&sample.value) {
                    if *value != 0.0 {
                        csr.indices.push(column);
                        csr.values.push(*value);
                    }
                }
                csr.indptr.push(csr.indices.len());
                for entry in sample.filled() {
                    let line = entry.line(sample_id, feature_id(entry.feature));
                    filled.write_all(line.as_bytes())?;
                }
                Ok(())
            }
        }
    }
}

/// The sample with the features at these positions.
fn arranged(sample: &CompletedSample, positions: &[usize]) -> CompletedSample {
    let numbers = |row: &[f64]| positions.iter().map(|at| row[*at]).collect();
    CompletedSample {
        sample: sample.sample,
        value: numbers(&sample.value),
        lower: numbers(&sample.lower),
        upper: numbers(&sample.upper),
        presence: numbers(&sample.presence),
        done: positions.iter().map(|at| sample.done[*at]).collect(),
    }
}
