//! Reading a table with its metadata, and what the user should know about it before it is used.

use crate::impute::{ACTION, Done};
use crate::provenance::{FileDigest, digest};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use suffuse_data::audit::logarithms;
use suffuse_data::format::tsv::{Orientation, TsvOptions};
use suffuse_data::format::{Format, Matrix, detect, h5ad, mtx};
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::{
    ColumnValues, Error as DataError, Layer, Table, format, metadata_tsv, nested, select,
};

/// Where a table comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct InputOptions {
    /// Metadata sheet to join by sample id; columns replace those of the table of the same name.
    pub metadata: Option<PathBuf>,
    /// Which way round a text table lies.
    pub orientation: Orientation,
    /// Which matrix of an h5ad is the table.
    pub matrix: Matrix,
    /// Features to leave out where ranks are nested; `None` keeps all.
    pub collapse: Option<Collapse>,
}

/// Which of the features of nested ranks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collapse {
    /// Those without a descendant in the table, by lineage.
    Leaves,
}

impl Default for InputOptions {
    fn default() -> Self {
        InputOptions {
            metadata: None,
            orientation: Orientation::Auto,
            matrix: Matrix::X,
            collapse: None,
        }
    }
}

/// A table as read, with its sources.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The table, metadata joined.
    pub table: Table,
    /// The files that it was read from, by content.
    pub sources: Vec<FileDigest>,
    /// Facts about the table that the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// Reads a table and joins its metadata.
///
/// # Errors
/// A file that cannot be read, and metadata that shares no sample id with the table.
pub fn read(path: &Path, options: &InputOptions) -> Result<Input> {
    let tsv = TsvOptions {
        orientation: options.orientation,
        ..TsvOptions::default()
    };
    let read_options = format::ReadOptions {
        matrix: options.matrix.clone(),
        tsv,
    };
    let mut table = format::read(path, &read_options).map_err(|error| {
        let way_out = match &error {
            DataError::InFile { source, .. } if matches!(**source, DataError::BadValue { .. }) => {
                from_before(path, &options.matrix)
            }
            _ => None,
        };
        let error = Error::from(error).in_file(path);
        match way_out {
            Some(way_out) => Error::Table(format!("{error}; {way_out}")),
            None => error,
        }
    })?;
    if let Some(sample) = table.totals().iter().position(|total| total.is_infinite()) {
        return Err(Error::Table(format!(
            "sample {:?}: its values sum to more than {:.1e}, the largest number there is; check the unit, and divide the table by a constant",
            table.sample_ids()[sample],
            f64::MAX
        ))
        .in_file(path));
    }
    let mut sources = files_of_table(path)
        .iter()
        .map(|file| digest(file))
        .collect::<Result<Vec<_>>>()?;
    let mut notes = Vec::new();
    if let Some(sheet) = &options.metadata {
        let metadata =
            metadata_tsv::read(sheet).map_err(|error| Error::from(error).in_file(sheet))?;
        let report = metadata_tsv::join(&mut table, &metadata)
            .map_err(|error| Error::from(error).in_file(path).in_file(sheet))?;
        sources.push(digest(sheet)?);
        if !report.missing_in_metadata.is_empty() || !report.unused.is_empty() {
            notes.push(format!(
                "{}: {} samples matched; {} samples of the table have no row (their metadata is missing), {} rows belong to no sample",
                sheet.display(),
                report.n_matched,
                report.missing_in_metadata.len(),
                report.unused.len()
            ));
        }
    }
    if let Some(Collapse::Leaves) = options.collapse {
        let (leaves, note) = leaves(&table)?;
        table = leaves;
        notes.push(note);
    }
    notes.extend(remarks(&table));
    Ok(Input {
        table,
        sources,
        notes,
    })
}

/// The text of a list or a sheet, without a byte order mark.
///
/// # Errors
/// A file that cannot be read.
pub fn read_text(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}

/// The table without the features that are ancestors of others, and how many those were.
fn leaves(table: &Table) -> Result<(Table, String)> {
    let leaves = nested::leaves(table);
    let n_parents = table.n_features() - leaves.len();
    let note = match n_parents {
        0 => "--collapse leaves: no feature is an ancestor of another; all are kept".to_string(),
        _ => format!(
            "--collapse leaves: {n_parents} of {} features are ancestors of others and were left out",
            table.n_features()
        ),
    };
    Ok((select::take_features(table, &leaves)?, note))
}

/// The files that [`read`] reads.
pub fn files(path: &Path, options: &InputOptions) -> Vec<PathBuf> {
    let mut files = files_of_table(path);
    files.extend(options.metadata.clone());
    files
}

/// The files that a table is read from: one, but for a matrix with its ids beside it.
fn files_of_table(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_matrix = !path.is_dir() && (name.ends_with(".mtx") || name.ends_with(".mtx.gz"));
    match mtx::files(path) {
        Ok(files) if is_matrix => files.into(),
        _ => vec![path.to_path_buf()],
    }
}

impl Input {
    /// Leaves out what would make a score too good or says nothing: features with a descendant in the
    /// table, whose share follows from it, and samples without a non-zero entry. Returns a sentence for
    /// each.
    ///
    /// # Errors
    /// A table of which nothing to learn from is left.
    pub fn keep_what_counts(&mut self) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let leaves = nested::leaves(&self.table);
        let n_nested = self.table.n_features() - leaves.len();
        if n_nested > 0 {
            self.table = select::take_features(&self.table, &leaves)?;
            notes.push(format!(
                "left out {n_nested} features with a descendant in the table: they follow from it"
            ));
        }
        let (table, dropped) = select::drop_empty_samples(&self.table)?;
        if !dropped.is_empty() {
            self.table = table;
            notes.push(format!(
                "left out {} samples without a non-zero entry",
                dropped.len()
            ));
        }
        require_learnable(&self.table)?;
        Ok(notes)
    }
}

/// Reads a table that something is to be learned from.
///
/// # Errors
/// As [`read`], and a table in which there is nothing to learn: no sample with a non-zero entry,
/// fewer than [`MIN_SAMPLES`] such samples, or fewer than two features.
pub fn read_to_learn(path: &Path, options: &InputOptions) -> Result<Input> {
    let mut input = read(path, options)?;
    require_learnable(&input.table).map_err(|error| error.in_file(path))?;
    (input.notes).extend(doubts(path, options, &input.table));
    Ok(input)
}

/// What speaks against taking the entries of a table, read from a file in this way, for measured abundances.
pub fn doubts(path: &Path, options: &InputOptions, table: &Table) -> Vec<String> {
    let of_logarithms = logarithms(table).map(|logarithms| {
        let way_out = from_before(path, &options.matrix);
        let way_out = way_out.unwrap_or("give the table from before".to_string());
        format!("{logarithms}, but are read as abundances: {way_out}")
    });
    of_logarithms
        .into_iter()
        .chain(filled_before(table))
        .chain(several_kinds(table))
        .collect()
}

/// Says that features of several kinds are taken for one composition, where the metadata of the features tell (10x).
fn several_kinds(table: &Table) -> Option<String> {
    let kinds = table.feature_metadata.column("feature_type")?;
    let texts = (0..kinds.values.len()).filter_map(|feature| kinds.values.text(feature));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    texts.for_each(|kind| *counts.entry(kind).or_default() += 1);
    let words: Vec<String> = counts
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    (counts.len() > 1).then(|| {
        format!(
            "features of several kinds are taken for one composition ({}): give a table of one kind",
            words.join(", ")
        )
    })
}

/// Where values from before a transform may be found: the other matrices of the same file, if it has any.
fn from_before(path: &Path, read: &Matrix) -> Option<String> {
    if detect(path).ok()? != Format::H5ad {
        return None;
    }
    let is_other = |name: &String| *read != Matrix::Layer(name.clone());
    let names = h5ad::layer_names(path).ok()?;
    let others: Vec<String> = names.into_iter().filter(is_other).collect();
    (!others.is_empty()).then(|| {
        format!(
            "values from before may be in the same file: --layer {}",
            others.join(" or --layer ")
        )
    })
}

/// Says that entries are not measured ones, where a layer of the table tells.
fn filled_before(table: &Table) -> Option<String> {
    let Some(Layer::Codes { codes, .. }) = table.layers.get(ACTION) else {
        return None;
    };
    let is_filled = |code: &&u8| **code == Done::Filled as u8;
    let n_filled = codes.iter().filter(is_filled).count();
    (n_filled > 0).then(|| {
        format!(
            "the table was completed before, by its layer {ACTION:?}: {n_filled} filled entries are taken for measured ones; give the table from before"
        )
    })
}

/// Fewest samples with a non-zero entry that a method can learn from.
pub const MIN_SAMPLES: usize = 3;

fn require_learnable(table: &Table) -> Result<()> {
    let totals = table.totals();
    let n_with_content = totals.iter().filter(|total| **total > 0.0).count();
    if n_with_content == 0 {
        return Err(Error::Table(format!(
            "all entries of the {} samples are zero or not measured: there is nothing to learn from; check that the file holds abundances and was exported in full",
            table.n_samples()
        )));
    }
    if n_with_content < MIN_SAMPLES {
        return Err(Error::Table(format!(
            "found {n_with_content} samples with a non-zero entry, expected at least {MIN_SAMPLES}: a table this small tells nothing about its taxa; add samples, or fill it with a model fitted on a larger table (`suffuse impute --model`)"
        )));
    }
    if table.n_features() < 2 {
        return Err(Error::Table(
            "found 1 feature, expected at least 2: abundances are relative to the other features; check the orientation of the table (--orientation)".to_string(),
        ));
    }
    Ok(())
}

/// A value with a comma, of a column that would hold numbers if all commas were points.
fn decimal_comma(values: &ColumnValues) -> Option<String> {
    if !matches!(
        values,
        ColumnValues::Text(_) | ColumnValues::Categorical { .. }
    ) {
        return None;
    }
    let texts = (0..values.len()).filter_map(|row| values.text(row));
    let known: Vec<String> = texts.filter(|text| !is_missing(text)).collect();
    let is_number = |text: &String| text.trim().replacen(',', ".", 1).parse::<f64>().is_ok();
    let with_comma = known.iter().find(|text| text.contains(','))?;
    known.iter().all(is_number).then(|| with_comma.clone())
}

/// What the user should know about the entries.
fn remarks(table: &Table) -> Vec<String> {
    let mut remarks = Vec::new();
    let n_empty = table.totals().iter().filter(|total| **total == 0.0).count();
    if n_empty > 0 {
        remarks.push(format!(
            "{n_empty} of {} samples have no non-zero entry",
            table.n_samples()
        ));
    }
    let n_missing = table.csr().2.iter().filter(|value| value.is_nan()).count();
    if n_missing > 0 {
        remarks.push(format!("{n_missing} entries are not measured (NaN)"));
    }
    for column in table.sample_metadata.columns() {
        if let Some(text) = decimal_comma(&column.values) {
            remarks.push(format!(
                "metadata column {:?}: its values are taken for texts, since {text:?} has a comma; if they are numbers, write points",
                column.name
            ));
        }
        if let Some((a, b)) = column.values.alike_as_numbers() {
            remarks.push(format!(
                "metadata column {:?}: its values are taken for names, since {a} and {b} stand in it; if they are numbers, write one as the other, or say so with a line #q2:types in the sheet",
                column.name
            ));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::{Column, ColumnValues};

    fn table(n_samples: usize, n_features: usize, value: f64) -> Table {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let dense = vec![value; n_samples * n_features];
        Table::from_dense(names("s", n_samples), names("t", n_features), &dense).unwrap()
    }

    #[test]
    fn tables_without_anything_to_learn_are_refused_with_a_way_out() {
        let message = |table: &Table| require_learnable(table).unwrap_err().to_string();
        assert!(message(&table(5, 5, 0.0)).contains("all entries"));
        assert!(message(&table(1, 5, 1.0)).contains("found 1 samples"));
        assert!(message(&table(5, 1, 1.0)).contains("found 1 feature"));
        assert!(require_learnable(&table(3, 2, 1.0)).is_ok());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        for text in ["\u{feff}a\n", "a\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_text(&path).unwrap(), "a\n");
        }
    }

    #[test]
    fn ancestors_are_left_out_and_counted() {
        let ids = ["k__A", "k__A|p__B", "k__A|p__C"].map(String::from);
        let table = Table::from_dense(vec!["s".to_string()], ids.to_vec(), &[3.0, 1.0, 2.0]);
        let table = table.unwrap();
        let (kept, note) = leaves(&table).unwrap();
        assert_eq!(kept.feature_ids(), &ids[1..]);
        assert!(note.contains("1 of 3 features"), "{note}");
        let (again, note) = leaves(&kept).unwrap();
        assert_eq!(again, kept);
        assert!(note.contains("no feature"), "{note}");
    }

    #[test]
    fn empty_samples_and_unmeasured_entries_are_told() {
        let mut dense = vec![1.0; 6];
        dense[..2].fill(0.0);
        dense[5] = f64::NAN;
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let table = Table::from_dense(names("s", 3), names("t", 2), &dense).unwrap();
        let remarks = remarks(&table);
        assert!(remarks[0].starts_with("1 of 3 samples"));
        assert!(remarks[1].starts_with("1 entries are not measured"));
        let mut table = table;
        let values = ["6.31", "6.310", "7"].map(|text| Some(text.to_string()));
        let ph = Column {
            name: "ph".to_string(),
            values: ColumnValues::Text(values.to_vec()),
        };
        table.sample_metadata.set_column(ph).unwrap();
        let told = super::remarks(&table).pop().unwrap();
        assert!(
            told.contains("6.31 and 6.310") && told.contains("#q2:types"),
            "{told}"
        );
    }
}
