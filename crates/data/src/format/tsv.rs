//! Abundance tables as delimited text (TSV, CSV), compressed or not.
//!
//! The first field of each line is an id, the others are numbers. An empty field, `NA`, `NaN` or
//! `nan` is an entry that was not measured. Ids are trimmed. Accepted beside the plain form: the
//! `# Constructed from biom file` and `#OTU ID` lines of QIIME, a taxonomy column with QIIME 2's `Confidence`, columns of
//! ranks (`Kingdom`, `Phylum`, ...), MetaPhlAn's `clade_name` tables, headers of R that lack the name of the id column, a byte order mark, CRLF.

use super::compressed::transpose;
use crate::delimited::{Delimited, names_features, normalized, shortest};
use crate::{Column, ColumnValues, Csr, Metadata, Result, Table, Taxonomy, taxonomy};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;

pub use crate::delimited::Delimiter;

/// Where the samples of a text table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// Reading: samples in columns if the first header field names features (`#OTU ID`,
    /// `Feature ID`, `ASV_ID`, `clade_name`, `gene`, ...), a taxonomy column is there, or the ids of
    /// the lines are lineages (`k__A|p__B`) or, and not those of the columns, made for features (`ASV1`, sequences,
    /// their digests); else in rows. Writing: samples in rows.
    #[default]
    Auto,
    /// One line per sample.
    SamplesInRows,
    /// One line per feature.
    SamplesInColumns,
}

/// How a text table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TsvOptions {
    /// Where the samples are.
    pub orientation: Orientation,
    /// What separates the fields.
    pub delimiter: Delimiter,
}

/// Names of MetaPhlAn's column of taxonomy identifiers, after normalization.
const TAXID_NAMES: [&str; 2] = ["ncbi tax id", "clade taxid"];

/// What programs number features under.
const FEATURE_NAMES: [&str; 4] = ["asv", "otu", "zotu", "denovo"];
/// Letters of a sequence, those for several bases among them.
const BASES: &str = "acgtunrykmswbdhv";
/// A shorter sequence could be a word.
const MIN_BASES: usize = 30;
/// Letters of a digest of a sequence: MD5.
const DIGEST_LENGTH: usize = 32;

/// How sure QIIME 2 is of a lineage, beside it.
const CONFIDENCE: &str = "confidence";

/// The one column of abundances in MetaPhlAn's profile of a single sample, after normalization. Of the others in such
/// a file none is one; the sample has the name of the file.
const PROFILE_NAME: &str = "relative abundance";

/// Reads a table.
///
/// # Errors
/// A file that cannot be read or is cut short; a line of another length than the header; a field
/// that is no number; a negative or infinite number; an empty or repeated id; no entries at all.
/// Messages name line and column.
pub fn read(path: &Path, options: &TsvOptions) -> Result<Table> {
    parse(
        Delimited::open(path, options.delimiter)?,
        options.orientation,
    )
}

/// Reads a table from decompressed text; `path` stands in messages only.
///
/// # Errors
/// As [`read`].
pub fn read_from(reader: impl BufRead, path: &Path, options: &TsvOptions) -> Result<Table> {
    parse(
        Delimited::new(Box::new(reader), path, options.delimiter)?,
        options.orientation,
    )
}

/// What a column of the file holds.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Number,
    Lineage,
    /// Something else that is known of the feature.
    Beside,
    /// Beside the abundances of a profile.
    Ignored,
}

fn parse(mut file: Delimited<'_>, orientation: Orientation) -> Result<Table> {
    let header = file.header().to_vec();
    let name_in = |names: &[&str], field: &String| names.contains(&normalized(field).as_str());
    let is_text = |column: usize| {
        let first = file.first_record().and_then(|record| record.get(column));
        !first.is_some_and(|text| parse_abundance(text).is_ok_and(|x| !x.is_nan()))
    };
    let is_rank =
        |field: &String| taxonomy::is_read_from(field) && !taxonomy::is_lineage_column(field);
    let are_ranks: Vec<bool> = (0..header.len())
        .map(|column| column > 0 && is_rank(&header[column]) && is_text(column))
        .collect();
    let has_ranks = are_ranks.iter().filter(|is| **is).count() >= 2; // a lone `class` or `order` may be a sample
    let names_samples = normalized(&header[0]).starts_with("sample");
    let samples_in_columns = match orientation {
        Orientation::SamplesInRows => false,
        Orientation::SamplesInColumns => true,
        Orientation::Auto => {
            // Among samples, "Taxon" is the name of a feature, and numbers stand below it.
            let has_lineages = (1..header.len())
                .any(|column| taxonomy::is_lineage_column(&header[column]) && is_text(column));
            let is_profile = header.len() == 2 && is_nameless(&header[1]);
            names_features(&header[0])
                || is_profile
                || !names_samples && (has_lineages || has_ranks)
        }
    };
    let is_profile = normalized(&header[0]) == "clade name"
        && header.iter().any(|field| name_in(&[PROFILE_NAME], field));
    let is_told = has_ranks
        || header
            .iter()
            .any(|field| taxonomy::is_lineage_column(field));
    let fields: Vec<Field> = header
        .iter()
        .zip(&are_ranks)
        .skip(1)
        .map(|(field, is_rank)| match samples_in_columns {
            true if taxonomy::is_lineage_column(field) => Field::Lineage,
            true if name_in(&TAXID_NAMES, field) => Field::Beside,
            true if has_ranks && *is_rank => Field::Beside,
            true if is_told && name_in(&[CONFIDENCE], field) => Field::Beside,
            true if is_profile && !name_in(&[PROFILE_NAME], field) => Field::Ignored,
            _ => Field::Number,
        })
        .collect();
    file.check_header(
        1,
        if samples_in_columns {
            "a sample id"
        } else {
            "a feature id"
        },
    )?;
    let mut column_ids: Vec<String> = (header.iter().skip(1).zip(&fields))
        .filter(|(_, field)| **field == Field::Number)
        .map(|(name, _)| name.clone())
        .collect();
    if column_ids.is_empty() {
        return Err(file.error(
            1,
            format!(
                "a header with {} field(s), none of them numbers",
                header.len()
            ),
            "an id and at least one column of numbers, separated by tab, comma or semicolon",
        ));
    }

    let n_last_ignored = fields.iter().rev().take_while(|f| **f == Field::Ignored);
    let n_needed = header.len() - n_last_ignored.count();

    let mut row_ids: Vec<String> = Vec::new();
    let mut line_of: HashMap<String, usize> = HashMap::new();
    let mut csr = Csr {
        indptr: vec![0],
        ..Csr::default()
    };
    let mut lineages = Vec::new();
    let mut beside: Vec<Vec<Option<String>>> = vec![Vec::new(); header.len()];
    while let Some((line, record)) = file.next_record()? {
        if !(n_needed..=header.len()).contains(&record.len()) {
            return Err(file.error(
                line,
                format!("{} fields", record.len()),
                format!(
                    "{} as in the header (quotes closed, one value per column)",
                    header.len()
                ),
            ));
        }
        // Profiles of MetaPhlAn 2 side by side: the headers of the profiles, below that of the table.
        if record[0].trim() == "#SampleID" && record.iter().skip(1).all(is_nameless) {
            continue;
        }
        let id = record[0].trim().to_string();
        if id.is_empty() {
            return Err(file.field_error(line, 0, "an empty id", "the id of this line"));
        }
        if let Some(first) = line_of.insert(id.clone(), line) {
            return Err(file.field_error(
                line,
                0,
                format!("id {id:?} again, first seen on line {first}"),
                "ids that occur once; rename or merge the lines",
            ));
        }
        row_ids.push(id);
        let mut column = 0;
        for (position, (text, field)) in record.iter().skip(1).zip(&fields).enumerate() {
            match field {
                Field::Ignored => {}
                Field::Lineage => lineages.push(text.trim().to_string()),
                Field::Beside => beside[position + 1].push(Some(text.trim().to_string())),
                Field::Number => {
                    let value = parse_abundance(text).map_err(|expected| {
                        file.field_error(line, position + 1, format!("{text:?}"), expected)
                    })?;
                    if value != 0.0 {
                        csr.indices.push(column);
                        csr.values.push(value);
                    }
                    column += 1;
                }
            }
        }
        csr.indptr.push(csr.indices.len());
    }
    if row_ids.is_empty() {
        return Err(file.error(2, "the end of the file", "at least one line of numbers"));
    }

    // Tables of older versions of MetaPhlAn have features in their rows, and a header that does not say so.
    let are_clades = orientation != Orientation::SamplesInRows
        && (taxonomy::are_lineages(&row_ids) || column_ids.iter().all(|id| is_nameless(id)));
    // What R writes has no name above the ids of the lines.
    let are_features = orientation == Orientation::Auto
        && !names_samples
        && are_ids_of_features(&row_ids)
        && !are_ids_of_features(&column_ids);
    if !samples_in_columns && !are_clades && !are_features {
        return Table::new(row_ids, column_ids, csr);
    }
    if lineages.is_empty() && (are_clades || normalized(&header[0]) == "clade name") {
        lineages.clone_from(&row_ids);
    }
    if let [id] = &mut column_ids[..]
        && (is_profile || is_nameless(id))
        && let Some(name) = name_of_profile(&file)
    {
        *id = name;
    }
    let csr = transpose(&csr, column_ids.len());
    let mut table = Table::new(column_ids, row_ids.clone(), csr)?;
    if !lineages.is_empty() {
        table.taxonomy = Some(Taxonomy::parse(&lineages));
    }
    let columns: Vec<Column> = (header.iter().zip(beside))
        .filter(|(_, texts)| !texts.is_empty())
        .map(|(name, texts)| Column {
            name: name.clone(),
            values: match name_in(&[CONFIDENCE], name) {
                true => numbers(texts),
                false => ColumnValues::Text(texts),
            },
        })
        .collect();
    if !columns.is_empty() {
        table.feature_metadata = Metadata::new(row_ids.clone(), columns)?;
    }
    if table.taxonomy.is_none() && has_ranks {
        table.taxonomy = Taxonomy::from_metadata(&table.feature_metadata, &row_ids);
    }
    Ok(table)
}

/// Says whether all ids are made as programs name features that have no name: sequences, their digests (QIIME 2),
/// `ASV1`, `OTU_12`, `Zotu7`.
fn are_ids_of_features(ids: &[String]) -> bool {
    let is_one = |id: &String| {
        let id = id.to_ascii_lowercase();
        let is_of = |letters: &str| id.chars().all(|letter| letters.contains(letter));
        let numbered = FEATURE_NAMES.iter().find_map(|name| id.strip_prefix(name));
        let numbered = numbered.map(|rest| rest.trim_start_matches(['_', '-', '.', ' ']));
        numbered.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
            || id.len() >= MIN_BASES && is_of(BASES)
            || id.len() == DIGEST_LENGTH && is_of("0123456789abcdef")
    };
    ids.iter().all(is_one)
}

/// Numbers, if all are; else as they are.
fn numbers(texts: Vec<Option<String>>) -> ColumnValues {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    match texts.iter().map(number).collect() {
        Some(numbers) => ColumnValues::Numeric(numbers),
        None => ColumnValues::Text(texts),
    }
}

/// Says whether a column stands for the one sample of a MetaPhlAn profile, and for none by name.
fn is_nameless(column: &str) -> bool {
    let column = column.trim().to_lowercase();
    column.starts_with("metaphlan") && column.ends_with("_analysis")
}

/// The sample of a MetaPhlAn profile: as it says itself, else the name of the file.
fn name_of_profile(file: &Delimited) -> Option<String> {
    if let Some(name) = file.sample_above().filter(|name| !is_nameless(name)) {
        return Some(name.to_string());
    }
    let name = file.path().file_name()?.to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let endings = [".txt", ".tsv", ".csv"];
    let name = (endings.iter().find_map(|ending| name.strip_suffix(ending))).unwrap_or(name);
    (!name.is_empty()).then(|| name.to_string())
}

/// The number in a field, or what should stand there instead.
fn parse_abundance(text: &str) -> std::result::Result<f64, &'static str> {
    let text = text.trim();
    if matches!(text, "" | "NA" | "NaN" | "nan") {
        return Ok(f64::NAN);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Err("NaN, NA or an empty field for not measured"),
        Ok(value) if value < 0.0 => {
            Err("a number that is not negative (raw or relative abundance, not log or centred)")
        }
        Ok(value) if value.is_infinite() => {
            Err("a finite number, or NaN if the entry was not measured")
        }
        Ok(value) => Ok(value),
        Err(_) => Err(
            "a number with a decimal point, or an empty field, NA or NaN for not \
                       measured (facts about samples belong in a metadata file)",
        ),
    }
}

/// Writes a table as text, without loss; `Delimiter::Auto` is a tab.
///
/// Numbers are the shortest text that reads back to the same bits, `NaN` where not measured.
/// With samples in columns the lineages, where known, form a last column `taxonomy`. Metadata,
/// layers and `obsm` are not part of the format.
///
/// # Errors
/// What the writer reports.
pub fn write_to(out: impl Write, table: &Table, options: &TsvOptions) -> std::io::Result<()> {
    let delimiter = match options.delimiter {
        Delimiter::Auto | Delimiter::Tab => b'\t',
        Delimiter::Comma => b',',
        Delimiter::Semicolon => b';',
    };
    let mut out = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .from_writer(out);
    match options.orientation {
        Orientation::Auto | Orientation::SamplesInRows => {
            out.write_field("sample_id")?;
            out.write_record(table.feature_ids())?;
            let mut line = vec![0.0; table.n_features()];
            for (sample, id) in table.sample_ids().iter().enumerate() {
                line.fill(0.0);
                let (columns, values) = table.row(sample);
                for (column, value) in columns.iter().zip(values) {
                    line[*column as usize] = *value;
                }
                out.write_field(id)?;
                out.write_record(line.iter().map(|value| shortest(*value)))?;
            }
        }
        Orientation::SamplesInColumns => {
            let (indptr, indices, values) = table.csr();
            let csr = Csr {
                indptr: indptr.to_vec(),
                indices: indices.to_vec(),
                values: values.to_vec(),
            };
            let by_feature = transpose(&csr, table.n_features());
            out.write_field("#OTU ID")?;
            for id in table.sample_ids() {
                out.write_field(id)?;
            }
            let taxonomy = table.taxonomy.as_ref();
            out.write_record(taxonomy.map(|_| "taxonomy"))?;
            let mut line = vec![0.0; table.n_samples()];
            for (feature, id) in table.feature_ids().iter().enumerate() {
                line.fill(0.0);
                for at in by_feature.indptr[feature]..by_feature.indptr[feature + 1] {
                    line[by_feature.indices[at] as usize] = by_feature.values[at];
                }
                out.write_field(id)?;
                for value in &line {
                    out.write_field(shortest(*value))?;
                }
                out.write_record(taxonomy.map(|taxonomy| taxonomy.lineage_text(feature)))?;
            }
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests;
