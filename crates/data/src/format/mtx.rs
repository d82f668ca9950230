//! Sparse counts as a 10x directory: a MatrixMarket file beside its barcodes and features.
//!
//! ```text
//! matrix.mtx[.gz]     features x barcodes, coordinate, 1-based    (becomes samples x features)
//! barcodes.tsv[.gz]   one sample id per line
//! features.tsv[.gz]   id, name, feature type; or genes.tsv: id, name
//! ```
//!
//! File names may share a prefix, as in `GSM123_matrix.mtx.gz`. A MatrixMarket file alone has no
//! ids and is refused.

use super::{Overwrite, in_file};
use crate::delimited::{open, read_line, shortest, write_text};
use crate::metadata_tsv;
use crate::{Column, ColumnValues, Csr, Error, Metadata, Result, Table};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

/// The most that gzip can shrink a file (its documented limit is 1032).
const GZIP_RATIO: u64 = 1032;

/// Fewest bytes of an entry: `1 1` and a line end.
const ENTRY_BYTES: u64 = 4;

/// Entries reserved at once before any was seen.
const RESERVE: usize = 1 << 20;

/// Names of the columns of `features.tsv` after the id.
pub const FEATURE_COLUMNS: [&str; 2] = ["name", "feature_type"];

/// Files of a 10x directory, each also as `.gz`.
pub(super) const FILE_NAMES: [&str; 4] =
    ["matrix.mtx", "barcodes.tsv", "features.tsv", "genes.tsv"];

/// Reads a 10x directory, given the directory or its matrix file.
///
/// Columns 2 and 3 of the features file become the feature metadata `name` and `feature_type`.
///
/// # Errors
/// A file of the three that is missing, cut short or of another format; sizes that do not fit the
/// ids or the file; an index out of range; an entry given twice; a negative or infinite value.
pub fn read(path: &Path) -> Result<Table> {
    let [matrix, barcodes, features] = files(path)?;
    let samples = read_ids(&barcodes, "a barcode")?;
    let features = read_ids(&features, "a feature id")?;
    let csr = read_matrix(&matrix, features.ids.len(), samples.ids.len())?;
    let mut table = Table::new(samples.ids, features.ids.clone(), csr)
        .map_err(|error| in_file(&matrix, error))?;
    let columns = FEATURE_COLUMNS
        .iter()
        .zip(features.columns)
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .map(|(name, cells)| {
            let values = match *name {
                "name" => ColumnValues::Text(cells),
                _ => metadata_tsv::infer(cells),
            };
            Column {
                name: name.to_string(),
                values,
            }
        })
        .collect();
    table.feature_metadata = Metadata::new(features.ids, columns)?;
    Ok(table)
}

/// The matrix, the barcodes and the features of a 10x directory, given the directory or its matrix.
///
/// # Errors
/// One of the three is missing.
pub fn files(path: &Path) -> Result<[PathBuf; 3]> {
    let matrix = if path.is_dir() {
        existing(&path.join("matrix.mtx")).ok_or_else(|| {
            Error::format(
                path,
                "folder",
                "no matrix.mtx or matrix.mtx.gz",
                "a 10x directory",
            )
        })?
    } else {
        path.to_path_buf()
    };
    let beside = |name: &str| {
        let file = matrix.file_name().unwrap_or_default().to_string_lossy();
        let (prefix, _) = file.split_once("matrix.mtx")?;
        existing(&matrix.with_file_name(format!("{prefix}{name}")))
    };
    let (Some(barcodes), Some(features)) = (
        beside("barcodes.tsv"),
        beside("features.tsv").or_else(|| beside("genes.tsv")),
    ) else {
        // Opening first, so that a missing matrix is reported as such.
        open(&matrix)?;
        return Err(Error::format(
            &matrix,
            "ids",
            "a MatrixMarket file without barcodes.tsv and features.tsv (or genes.tsv) beside it",
            "the 10x layout: matrix.mtx, barcodes.tsv and features.tsv, each also as .gz",
        ));
    };
    Ok([matrix, barcodes, features])
}

/// The file of this name, or of this name and `.gz`.
fn existing(path: &Path) -> Option<PathBuf> {
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(".gz");
    [path.to_path_buf(), PathBuf::from(compressed)]
        .into_iter()
        .find(|path| path.is_file())
}

/// Ids and what stands beside them.
struct Ids {
    ids: Vec<String>,
    columns: [Vec<Option<String>>; 2],
}

/// Lines of an id and up to two further fields, without a header.
fn read_ids(path: &Path, what: &str) -> Result<Ids> {
    let mut reader = open(path)?;
    let mut found = Ids {
        ids: Vec::new(),
        columns: [Vec::new(), Vec::new()],
    };
    let mut line_of: HashMap<String, usize> = HashMap::new();
    let mut line = 0;
    while let Some(text) = read_line(&mut reader, path, line + 1)? {
        line += 1;
        if text.trim().is_empty() && is_at_end(&mut reader, path, line)? {
            break;
        }
        let mut fields = text
            .trim_end_matches(['\r', '\n'])
            .split('\t')
            .map(str::trim);
        let id = fields.next().unwrap_or("").to_string();
        if id.is_empty() {
            return Err(Error::format(
                path,
                format!("line {line}"),
                "an empty id",
                what,
            ));
        }
        if let Some(first) = line_of.insert(id.clone(), line) {
            return Err(Error::format(
                path,
                format!("line {line}"),
                format!("{id:?} again, first seen on line {first}"),
                format!("{what} that occurs once; make the ids unique"),
            ));
        }
        found.ids.push(id);
        for column in &mut found.columns {
            column.push(
                fields
                    .next()
                    .filter(|text| !text.is_empty())
                    .map(str::to_string),
            );
        }
    }
    if found.ids.is_empty() {
        return Err(Error::format(path, "line 1", "the end of the file", what));
    }
    Ok(found)
}

/// Says whether nothing but empty lines follows a line.
fn is_at_end(reader: &mut dyn BufRead, path: &Path, mut line: usize) -> Result<bool> {
    while let Some(text) = read_line(reader, path, line + 1)? {
        line += 1;
        if !text.trim().is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads features x samples into compressed rows of samples.
fn read_matrix(path: &Path, n_features: usize, n_samples: usize) -> Result<Csr> {
    let n_bytes = std::fs::metadata(path)
        .map_err(|source| Error::io(path, "read", source))?
        .len();
    parse_matrix(
        open(path)?,
        path,
        Declared {
            n_features,
            n_samples,
            n_bytes,
        },
    )
}

/// What is known of a matrix before it is read.
struct Declared {
    n_features: usize,
    n_samples: usize,
    n_bytes: u64,
}

fn parse_matrix(mut reader: Box<dyn BufRead + '_>, path: &Path, declared: Declared) -> Result<Csr> {
    let error = |line: usize, found: String, expected: &str| {
        Err(Error::format(path, format!("line {line}"), found, expected))
    };
    let banner = read_line(&mut reader, path, 1)?
        .unwrap_or_default()
        .to_lowercase();
    let words: Vec<&str> = banner.split_whitespace().collect();
    let has_value = match words[..] {
        [
            "%%matrixmarket",
            "matrix",
            "coordinate",
            "real" | "integer" | "unsigned-integer",
            "general",
        ] => true,
        [
            "%%matrixmarket",
            "matrix",
            "coordinate",
            "pattern",
            "general",
        ] => false,
        _ => {
            let found: String = banner.trim().chars().take(80).collect();
            return error(
                1,
                format!("{found:?}"),
                "%%MatrixMarket matrix coordinate, then integer, real or pattern, then general",
            );
        }
    };
    let mut line = 1;
    let sizes = loop {
        line += 1;
        match read_line(&mut reader, path, line)? {
            Some(text) if text.starts_with('%') || text.trim().is_empty() => {}
            Some(text) => break text,
            None => return error(line, "the end of the file".into(), "a line of three sizes"),
        }
    };
    let parsed: Option<Vec<usize>> = sizes
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    let Some([n_rows, n_columns, n_entries]) =
        parsed.as_deref().and_then(|sizes| sizes.first_chunk())
    else {
        return error(
            line,
            format!("{:?}", sizes.trim()),
            "rows, columns and number of entries",
        );
    };
    if (*n_rows, *n_columns) != (declared.n_features, declared.n_samples) {
        return error(
            line,
            format!("{n_rows} x {n_columns}"),
            &format!(
                "{} features x {} barcodes, as listed in the files beside",
                declared.n_features, declared.n_samples
            ),
        );
    }
    let at_most = declared.n_bytes.saturating_mul(GZIP_RATIO) / ENTRY_BYTES + 1;
    if *n_entries as u64 > at_most {
        return error(
            line,
            format!("{n_entries} entries declared"),
            &format!("at most {at_most}, which is all that the file can hold; it is damaged"),
        );
    }

    let mut entries: Vec<(u32, u32, f64)> = Vec::with_capacity((*n_entries).min(RESERVE));
    while let Some(text) = read_line(&mut reader, path, line + 1)? {
        line += 1;
        let mut words = text.split_whitespace();
        let Some(first) = words.next() else { continue };
        if first.starts_with('%') {
            continue;
        }
        let index = |word: Option<&str>, n: usize| {
            word.and_then(|word| word.parse().ok())
                .filter(|index| (1..=n).contains(index))
        };
        let feature = index(Some(first), *n_rows);
        let sample = index(words.next(), *n_columns);
        let value: Option<f64> = if has_value {
            words.next().and_then(|word| word.parse().ok())
        } else {
            Some(1.0)
        };
        match (feature, sample, value, words.next()) {
            (Some(feature), Some(sample), Some(value), None)
                if value >= 0.0 && value.is_finite() =>
            {
                entries.push((sample as u32 - 1, feature as u32 - 1, value));
            }
            _ => {
                let expected = format!(
                    "row in 1..={n_rows}, column in 1..={n_columns}{}",
                    if has_value {
                        " and a finite number that is not negative"
                    } else {
                        ""
                    }
                );
                return error(line, format!("{:?}", text.trim()), &expected);
            }
        }
        if entries.len() > *n_entries {
            let expected = format!("the end of the file after {n_entries} entries");
            return error(line, "a further entry".into(), &expected);
        }
    }
    if entries.len() < *n_entries {
        return error(
            line + 1,
            format!("the end of the file after {} entries", entries.len()),
            &format!("{n_entries} entries, as declared; the file was cut short"),
        );
    }
    entries.sort_unstable_by_key(|(sample, feature, _)| (*sample, *feature));
    let mut indptr = vec![0; declared.n_samples + 1];
    for (sample, _, _) in &entries {
        indptr[*sample as usize + 1] += 1;
    }
    for sample in 0..declared.n_samples {
        indptr[sample + 1] += indptr[sample];
    }
    let (indices, values) = entries
        .into_iter()
        .map(|(_, feature, value)| (feature, value))
        .unzip();
    Ok(Csr {
        indptr,
        indices,
        values,
    })
}

/// Refuses ids that the lines of a 10x directory cannot keep.
///
/// # Errors
/// The first id with a tab or a line end.
pub fn check_ids(table: &Table) -> Result<()> {
    let breaks_lines = |id: &&String| id.contains(['\t', '\n', '\r']);
    if let Some(id) = table
        .sample_ids()
        .iter()
        .chain(table.feature_ids())
        .find(breaks_lines)
    {
        return Err(Error::Invalid(format!(
            "id {id:?} holds a tab or a line end, which a 10x directory cannot keep; rename it"
        )));
    }
    Ok(())
}

/// Writes the three files of a 10x directory (compressed, as of version 3) into a folder.
///
/// The matrix is `integer` if all values are whole, else `real` without loss. Names and types of
/// the features come from the feature metadata `name` and `feature_type`, else the id and
/// `Gene Expression` are written. Other metadata are not part of the format.
///
/// # Errors
/// A folder that is missing or holds such files; an entry that was not measured, which the format
/// cannot say; ids with a tab or a line end.
pub fn write(folder: &Path, table: &Table) -> Result<()> {
    for sample in 0..table.n_samples() {
        let (columns, values) = table.row(sample);
        if let Some(position) = values.iter().position(|value| value.is_nan()) {
            return Err(Error::Invalid(format!(
                "sample {:?}, feature {:?} was not measured, which MatrixMarket cannot say; fill \
                 the table first, or write .h5ad or .tsv",
                table.sample_ids()[sample],
                table.feature_ids()[columns[position] as usize],
            )));
        }
    }
    check_ids(table)?;
    write_text(&folder.join("barcodes.tsv.gz"), Overwrite::Refuse, |out| {
        table
            .sample_ids()
            .iter()
            .try_for_each(|id| writeln!(out, "{id}"))
    })?;
    write_text(&folder.join("features.tsv.gz"), Overwrite::Refuse, |out| {
        let [names, types] = FEATURE_COLUMNS.map(|name| table.feature_metadata.column(name));
        for (feature, id) in table.feature_ids().iter().enumerate() {
            let text = |column: Option<&Column>| column.and_then(|c| c.values.text(feature));
            let name = text(names).unwrap_or_else(|| id.clone());
            let kind = text(types).unwrap_or_else(|| "Gene Expression".to_string());
            let line = [id.as_str(), &name, &kind].map(|s| s.replace(['\t', '\n', '\r'], " "));
            writeln!(out, "{}", line.join("\t"))?;
        }
        Ok(())
    })?;
    write_text(&folder.join("matrix.mtx.gz"), Overwrite::Refuse, |out| {
        write_matrix(out, table)
    })
}

fn write_matrix(out: &mut dyn Write, table: &Table) -> std::io::Result<()> {
    let (_, _, values) = table.csr();
    let is_whole = values
        .iter()
        .all(|value| value.fract() == 0.0 && *value < 1e15);
    let field = if is_whole { "integer" } else { "real" };
    writeln!(out, "%%MatrixMarket matrix coordinate {field} general")?;
    writeln!(
        out,
        "{} {} {}",
        table.n_features(),
        table.n_samples(),
        values.len()
    )?;
    for sample in 0..table.n_samples() {
        let (columns, values) = table.row(sample);
        for (column, value) in columns.iter().zip(values) {
            writeln!(out, "{} {} {}", column + 1, sample + 1, shortest(*value))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(text: &str) -> Result<Csr> {
        let declared = Declared {
            n_features: 3,
            n_samples: 2,
            n_bytes: text.len() as u64,
        };
        parse_matrix(Box::new(text.as_bytes()), Path::new("matrix.mtx"), declared)
    }

    #[test]
    fn the_three_number_forms_become_rows_of_samples() {
        for (field, value) in [("integer", "2"), ("real", "2.0e0"), ("pattern", "")] {
            let text = format!(
                "%%MatrixMarket matrix coordinate {field} general\n% comment\n3 2 3\n3 1 {value}\n1 1 {value}\n2 2 {value}\n"
            );
            let csr = matrix(&text).unwrap();
            assert_eq!(csr.indptr, [0, 2, 3]);
            assert_eq!(csr.indices, [0, 2, 1]);
            assert_eq!(csr.values, [if value.is_empty() { 1.0 } else { 2.0 }; 3]);
        }
    }

    #[test]
    fn bad_matrices_name_the_line() {
        let head = "%%MatrixMarket matrix coordinate integer general\n";
        let message = |rest: &str| matrix(&format!("{head}{rest}")).unwrap_err().to_string();
        assert!(
            message("3 2 1\n4 1 1\n").contains("line 3: found \"4 1 1\", expected row in 1..=3")
        );
        assert!(message("3 2 1\n1 1 -1\n").contains("not negative"));
        assert!(message("3 2 2\n1 1 1\n").contains("cut short"));
        assert!(message("3 2 1\n1 1 1\n2 1 1\n").contains("line 4: found a further entry"));
        assert!(message("3 2 99999999999999\n").contains("all that the file can hold"));
        assert!(message("7 2 1\n1 1 1\n").contains("7 x 2, expected 3 features x 2 barcodes"));
        assert!(message("3 2\n").contains("number of entries"));
        let m = matrix("%%MatrixMarket matrix array real general\n")
            .unwrap_err()
            .to_string();
        assert!(m.contains("line 1") && m.contains("array"), "{m}");
        assert!(matrix("").is_err());
    }

    #[test]
    fn a_written_directory_reads_back_the_same() {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        for dense in [
            [0.0, 2.0, 0.0, 1.0, 0.0, 7.0],
            [0.1, 0.0, 1e-300, 3.0, 0.0, 0.0],
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            let table = Table::from_dense(ids("s", 2), ids("g", 3), &dense).unwrap();
            write(path, &table).unwrap();
            let back = read(path).unwrap();
            assert_eq!(back.to_dense(), dense);
            assert_eq!(read(&path.join("matrix.mtx.gz")).unwrap(), back);
            assert_eq!(back.sample_ids(), table.sample_ids());
            let name = |feature| {
                back.feature_metadata
                    .column("name")
                    .unwrap()
                    .values
                    .text(feature)
            };
            assert_eq!(name(1).unwrap(), "g1");
            assert!(matches!(
                write(path, &table),
                Err(Error::OutputExists { .. })
            ));
        }
        let table = Table::from_dense(ids("s", 1), ids("g", 1), &[f64::NAN]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert!(
            write(folder.path(), &table)
                .unwrap_err()
                .to_string()
                .contains("not measured")
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }

    #[test]
    fn an_entry_given_twice_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let banner = "%%MatrixMarket matrix coordinate integer general";
        put("matrix.mtx", &format!("{banner}\n1 1 2\n1 1 5\n1 1 6\n"));
        put("genes.tsv", "g1\n");
        put("barcodes.tsv", "c1\n");
        let m = read(folder.path()).unwrap_err().to_string();
        assert!(m.contains("matrix.mtx"), "{m}");
    }

    #[test]
    fn a_matrix_alone_and_repeated_barcodes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put(
            "p_matrix.mtx",
            "%%MatrixMarket matrix coordinate integer general\n1 2 1\n1 1 5\n",
        );
        let path = folder.path().join("p_matrix.mtx");
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("barcodes.tsv")
        );
        put("p_genes.tsv", "g1\tGENE1\n");
        put("p_barcodes.tsv", "c1\nc1\n");
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("line 2: found \"c1\" again")
        );
        put("p_barcodes.tsv", "c1\n\nc2\n");
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("line 2: found an empty id"), "{message}");
        // scipy names the field so for unsigned counts.
        put(
            "p_matrix.mtx",
            "%%MatrixMarket matrix coordinate unsigned-integer general\n1 2 1\n1 1 5\n",
        );
        put("p_barcodes.tsv", "c1\r\nc2\r\n\n");
        let table = read(&path).unwrap();
        assert_eq!(table.get(0, 0), 5.0);
        assert_eq!(
            table.feature_metadata.columns().len(),
            1,
            "genes.tsv has no type"
        );
        assert!(
            read(folder.path())
                .unwrap_err()
                .to_string()
                .contains("no matrix.mtx")
        );
        assert!(matches!(
            read(&folder.path().join("x_matrix.mtx")),
            Err(Error::Io { .. })
        ));
    }
}
