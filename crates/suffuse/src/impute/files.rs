//! A completed table on its way to its files, sample by sample: it never stands in memory densely.

use super::sets::{self, Set, push_row};
use super::zeros::{self, ZeroThresholds};
use super::{
    ACTION, Completed, CompletedSample, Counts, Done, FILLED_HEADER, LAYERS, MEANINGS, complete,
    reconcile,
};
use crate::output::{beside, require_writable, write_text};
use crate::provenance::Provenance;
use crate::report::html::Gathered;
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
    /// Completed tables of one draw each.
    pub sets: Vec<PathBuf>,
    /// List of the zeros that were judged, and how they are classed.
    pub zeros: Option<(PathBuf, ZeroThresholds)>,
    /// Page for the browser.
    pub report: Option<PathBuf>,
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
            sets: Vec::new(),
            zeros: None,
            report: None,
            overwrite,
        };
        for path in files.paths() {
            require_writable(path, overwrite)?;
        }
        Ok(files)
    }

    /// With `n_sets` completed tables of one draw each.
    ///
    /// # Errors
    /// A file that exists and may not be replaced, or cannot be written.
    pub fn with_sets(mut self, n_sets: usize) -> Result<Files> {
        self.sets = sets::paths(&self.table, n_sets);
        for path in &self.sets {
            require_writable(path, self.overwrite)?;
        }
        Ok(self)
    }

    /// With a list of the zeros.
    ///
    /// # Errors
    /// As [`Files::with_sets`], and the name of another output.
    pub fn with_zeros(mut self, path: &Path, thresholds: ZeroThresholds) -> Result<Files> {
        if self.paths().any(|other| other == path) {
            return Err(Error::Usage(format!(
                "--zeros {}: this is the name of another output; choose a different one",
                path.display()
            )));
        }
        require_writable(path, self.overwrite)?;
        self.zeros = Some((path.to_path_buf(), thresholds));
        Ok(self)
    }

    /// With a page for the browser.
    ///
    /// # Errors
    /// As [`Files::with_zeros`].
    pub fn with_report(mut self, path: &Path) -> Result<Files> {
        if self.paths().any(|other| other == path) {
            return Err(Error::Usage(format!(
                "--report {}: this is the name of another output; choose a different one",
                path.display()
            )));
        }
        require_writable(path, self.overwrite)?;
        self.report = Some(path.to_path_buf());
        Ok(self)
    }

    /// A completed table that is there already and is not one of this run: the one after its last.
    pub fn left_over_set(&self) -> Option<PathBuf> {
        let n_sets = self.sets.len();
        let next = sets::path(&self.table, n_sets + 1, n_sets.max(1));
        (n_sets > 0 && next.exists()).then_some(next)
    }

    /// The table first.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let beside = self
            .beside
            .iter()
            .flat_map(|(record, filled)| [record, filled]);
        std::iter::once(&self.table)
            .chain(beside)
            .chain(&self.sets)
            .chain(self.zeros.iter().map(|(path, _)| path))
            .chain(&self.report)
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
    sets: Vec<Set>,
    /// On disk.
    zeros: Option<BufWriter<File>>,
    /// What a report wants to know of the samples.
    gathered: Option<Gathered>,
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
                let action = (ACTION.to_string(), LayerKind::Codes(meanings));
                let shape = [table.n_samples(), table.n_features()];
                let layers = numbers.into_iter().chain([action]);
                Taken::Spooled(Box::new(SpooledTable::new(&files.table, shape, layers)?))
            }
            Some((_, filled)) => {
                let csr = Csr {
                    indptr: vec![0],
                    ..Csr::default()
                };
                Taken::Sparse(csr, unnamed_beside(filled)?)
            }
        };
        let shape = [table.n_samples(), table.n_features()];
        let sets = files.sets.iter().map(|path| Set::new(path, shape));
        let zeros = files.zeros.iter().map(|(path, _)| unnamed_beside(path));
        Ok(Filling {
            files,
            positions,
            sums: &[],
            counts: Counts::default(),
            taken,
            sets: sets.collect::<Result<_>>()?,
            zeros: zeros.collect::<Result<Vec<_>>>()?.pop(),
            gathered: None,
        })
    }

    /// Sets filled parents to the sum of their children; positions are those of the model's table.
    pub fn reconciling(self, sums: &'a [Sum]) -> Filling<'a> {
        Filling { sums, ..self }
    }

    /// Lets a report look at each sample as it comes.
    pub fn watched_by(self, gathered: Option<Gathered>) -> Filling<'a> {
        Filling { gathered, ..self }
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
            sets,
            zeros,
            gathered,
        } = self;
        if block.sets.len() != sets.len() {
            return Err(Error::Table(format!(
                "the model returned {} completed tables, expected {}; please report this",
                block.sets.len(),
                sets.len()
            )));
        }
        complete(
            table,
            block.first_sample,
            &block.filled,
            sums,
            counts,
            |sample| {
                let in_model = sample;
                if let Some(gathered) = gathered {
                    gathered.take(sample);
                }
                let arranged = positions
                    .as_ref()
                    .map(|positions| arranged(sample, positions));
                let sample = arranged.as_ref().unwrap_or(sample);
                let feature_id = |feature: usize| {
                    let feature = positions.as_ref().map_or(feature, |p| p[feature]);
                    &table.feature_ids()[feature]
                };
                let sample_id = &table.sample_ids()[sample.sample];
                taken
                    .push(sample, sample_id, feature_id)
                    .map_err(|error| Error::io(&files.table, "write", error))?;
                let place = |feature: usize| positions.as_ref().map_or(feature, |p| p[feature]);
                let before = table.dense_row(sample.sample);
                for ((set, path), drawn) in sets.iter_mut().zip(&files.sets).zip(&block.sets) {
                    let drawn = drawn.row(sample.sample - block.first_sample);
                    let mut row = in_model.value.clone();
                    for entry in in_model.filled() {
                        row[entry.feature] = drawn[entry.feature];
                    }
                    let is_filled = |feature: usize| in_model.done[feature] == Done::Filled as u8;
                    reconcile(&mut row, sums, is_filled, &before);
                    if let Some(positions) = positions.as_ref() {
                        row = positions.iter().map(|position| row[*position]).collect();
                    }
                    set.push(&row)
                        .map_err(|error| Error::io(path, "write", error))?;
                }
                if let (Some(list), Some((path, thresholds))) = (zeros.as_mut(), &files.zeros) {
                    for (feature, presence) in sample.presence.iter().enumerate() {
                        if before[place(feature)] != 0.0 || presence.is_nan() {
                            continue;
                        }
                        let class = thresholds.class(*presence);
                        let line = zeros::line(sample_id, feature_id(feature), *presence, class);
                        list.write_all(line.as_bytes())
                            .map_err(|error| Error::io(path, "write", error))?;
                    }
                }
                Ok(())
            },
        )
    }

    /// Fates of the entries so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What a report wants to know of the samples so far.
    pub fn gathered(&self) -> Option<&Gathered> {
        self.gathered.as_ref()
    }

    /// Writes the files: of `table`, which the model was given, all but the entries. The completed tables
    /// of one draw come first: if one cannot be written, none of the files is there.
    ///
    /// # Errors
    /// A file that cannot be written; what was written before it is removed.
    pub fn write(self, table: Table, provenance: &Provenance) -> Result<()> {
        let mut written = Vec::new();
        let result = self.write_in_order(table, provenance, &mut written);
        if result.is_err() {
            for path in written {
                // What stopped the writing is the error to tell; this can but be tried.
                let _ = match path.is_dir() {
                    true => std::fs::remove_dir_all(&path),
                    false => std::fs::remove_file(&path),
                };
            }
        }
        result
    }

    fn write_in_order(
        self,
        mut table: Table,
        provenance: &Provenance,
        written: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let files = self.files;
        if let Some(positions) = &self.positions {
            table = select::take_features(&table, positions)?;
        }
        let n_sets = self.sets.len();
        for (number, (set, path)) in (1..).zip(self.sets.into_iter().zip(&files.sets)) {
            let mut record = provenance.clone();
            record.set("set", format!("{number} of {n_sets}"));
            table.uns.insert("suffuse".to_string(), record.to_json());
            set.write(&table, path, files.overwrite)?;
            written.push(path.clone());
        }
        table
            .uns
            .insert("suffuse".to_string(), provenance.to_json());
        // The table before what describes it, which must not stand there without it.
        match self.taken {
            Taken::Spooled(spooled) => {
                spooled.write(&table, &files.table, files.overwrite)?;
                written.push(files.table.clone());
            }
            Taken::Sparse(csr, filled) => {
                files.write_table(&table.with_entries(csr)?)?;
                written.push(files.table.clone());
                if let Some((record, path)) = &files.beside {
                    files.write_record(record, provenance)?;
                    written.push(record.clone());
                    write_list(path, files.overwrite, FILLED_HEADER, filled)?;
                    written.push(path.clone());
                }
            }
        }
        if let (Some(list), Some((path, _))) = (self.zeros, &files.zeros) {
            write_list(path, files.overwrite, zeros::HEADER, list)?;
        }
        Ok(())
    }
}

/// A file without a name in the folder of `path`.
fn unnamed_beside(path: &Path) -> Result<BufWriter<File>> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let file = tempfile::tempfile_in(folder).map_err(|error| Error::io(path, "write", error))?;
    Ok(BufWriter::new(file))
}

/// Writes the lines that were put aside in `lines` under `header`.
fn write_list(
    path: &Path,
    overwrite: Overwrite,
    header: &str,
    lines: BufWriter<File>,
) -> Result<()> {
    let io = |error| Error::io(path, "write", error);
    let mut lines = lines.into_inner().map_err(|error| io(error.into_error()))?;
    lines.rewind().map_err(io)?;
    write_atomically(path, overwrite, |sink| {
        sink.write_all(header.as_bytes())?;
        std::io::copy(&mut lines, sink).map(drop)
    })?;
    Ok(())
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
                push_row(csr, &sample.value);
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
