//! Abundance tables as delimited text (TSV, CSV), compressed or not.
//!
//! The first field of each line is an id, the others are numbers. An empty field, `NA`, `NaN` or
//! `nan` is an entry that was not measured. Ids are trimmed. Accepted beside the plain form: the
//! `# Constructed from biom file` and `#OTU ID` lines of QIIME, a taxonomy column with QIIME 2's `Confidence`, columns of
//! ranks (`Kingdom`, `Phylum`, ...), MetaPhlAn's `clade_name` tables, headers of R that lack the name of the id column, a byte order mark, CRLF.

use super::compressed::transpose;
use super::in_file;
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
    /// the lines are lineages (`k__A|p__B`), else in rows. Writing: samples in rows.
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
    let samples_in_columns = match orientation {
        Orientation::SamplesInRows => false,
        Orientation::SamplesInColumns => true,
        Orientation::Auto => {
            // Among samples, "Taxon" is the name of a feature, and numbers stand below it.
            let names_samples = normalized(&header[0]).starts_with("sample");
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
    if !samples_in_columns && !are_clades {
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
        table.taxonomy =
            Some(Taxonomy::parse(&lineages).map_err(|error| in_file(file.path(), error))?);
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
        table.taxonomy = Taxonomy::from_metadata(&table.feature_metadata, &row_ids)?;
    }
    Ok(table)
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
mod tests {
    use super::*;
    use crate::Error;
    use crate::format::WriteOptions;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    fn table(text: &str) -> Result<Table> {
        read_from(text.as_bytes(), Path::new("t.tsv"), &TsvOptions::default())
    }

    #[test]
    fn what_is_told_of_features_beside_their_numbers_is_no_sample() {
        let confident =
            "#OTU ID\ts1\ts2\tTaxon\tConfidence\na\t1\t0\tk__A; p__B\t0.99\nb\t0\t3\tk__A\t0.7\n";
        let ranks = "OTU,Kingdom,Phylum,s1,s2\na,k__A,p__B,1,0\nb,k__A,NA,0,3\n";
        let unnamed = "\"\",\"Kingdom\",\"Phylum\",\"s1\",\"s2\"\n\"a\",\"A\",\"B\",1,0\n\"b\",\"A\",\"\",0,3\n";
        let semicolons = "#OTU ID;s1;s2;taxonomy\na;1;0;\"k__A; p__B\"\nb;0;3;k__A\n";
        for text in [confident, ranks, unnamed, semicolons] {
            let table = table(text).unwrap();
            assert_eq!(table.sample_ids(), ["s1", "s2"], "{text}");
            assert_eq!(table.to_dense(), [1.0, 0.0, 0.0, 3.0], "{text}");
            let taxonomy = table.taxonomy.as_ref().unwrap();
            assert_eq!(taxonomy.finest(0).unwrap().1, "B", "{text}");
            assert_eq!(taxonomy.finest(1).unwrap().1, "A", "{text}");
        }
        let sure = &table(confident).unwrap().feature_metadata;
        let sure = &sure.column("Confidence").unwrap().values;
        assert_eq!(*sure, ColumnValues::Numeric(vec![0.99, 0.7]));
        // A sample may be called so where nothing is told of features.
        let plain = table("#OTU ID\tconfidence\torder\na\t1\t2\n").unwrap();
        assert_eq!(plain.sample_ids(), ["confidence", "order"]);
        let named_order = table("OTU\tKingdom\tPhylum\torder\na\tA\tB\t1\n").unwrap();
        assert_eq!(named_order.sample_ids(), ["order"]);
        let pathways = table("# Pathway\ts1\ts2\nPWY-1\t1\t2\n").unwrap();
        assert_eq!((pathways.n_samples(), pathways.n_features()), (2, 1));
    }

    fn message(text: &str) -> String {
        table(text).unwrap_err().to_string()
    }

    #[test]
    fn a_qiime_table_has_samples_in_columns_and_its_lineages() {
        let text = "# Constructed from biom file\r\n#OTU ID\ts1\ts2\ttaxonomy\r\n\
                    t1\t1.0\t0\tk__Bacteria; p__Firmicutes\r\nt2\t\t2e3\tk__Bacteria; p__\r\n";
        let table = table(text).unwrap();
        assert_eq!(table.sample_ids(), ["s1", "s2"]);
        assert_eq!(table.feature_ids(), ["t1", "t2"]);
        assert_eq!(table.get(0, 0), 1.0);
        assert_eq!(table.get(1, 1), 2000.0);
        assert!(table.get(0, 1).is_nan(), "an empty field is not measured");
        let taxonomy = table.taxonomy.unwrap();
        assert_eq!(taxonomy.ranks, ["kingdom", "phylum"]);
        assert_eq!(
            taxonomy.lineages,
            [["Bacteria", "Firmicutes"], ["Bacteria", ""]]
        );
    }

    #[test]
    fn a_plain_table_has_samples_in_rows_unless_told_otherwise() {
        let text = ",a,b\ns1,1,NA\ns2,0,\"2.5\"\n";
        let rows = table(text).unwrap();
        assert_eq!(
            (rows.sample_ids(), rows.feature_ids()[1].as_str()),
            (&["s1".to_string(), "s2".to_string()][..], "b")
        );
        assert_eq!(rows.get(1, 1), 2.5);
        let options = TsvOptions {
            orientation: Orientation::SamplesInColumns,
            ..Default::default()
        };
        let columns = read_from(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
        assert_eq!(columns.sample_ids(), ["a", "b"]);
        assert_eq!(columns.get(1, 1), 2.5);
        assert!(columns.get(1, 0).is_nan());
    }

    #[test]
    fn a_metaphlan_profile_is_a_sample_with_the_name_of_its_file() {
        let text = "#mpa_vJan21_CHOCOPhlAnSGB_202103\n#/usr/bin/metaphlan a.fq -o a.txt\n#1000 reads processed\n\
                    #SampleID\tMetaphlan_Analysis\n\
                    #clade_name\tNCBI_tax_id\trelative_abundance\tadditional_species\n\
                    k__Bacteria\t2\t100.0\t\nk__Bacteria|p__Firmicutes\t2|1239\t60.5\tk__A|p__B,k__A|p__C\n\
                    k__Bacteria|p__Bacteroidetes\t2|976\t39.5\n";
        let read = |name: &str, text: &str| {
            read_from(text.as_bytes(), Path::new(name), &TsvOptions::default()).unwrap()
        };
        let table = read("runs/patient1.profile.txt.gz", text);
        assert_eq!(table.sample_ids(), ["patient1.profile"]);
        assert_eq!((table.n_features(), table.get(0, 1)), (3, 60.5));
        assert_eq!(table.taxonomy.unwrap().lineages[2][1], "Bacteroidetes");
        let with_counts = "#clade_name\tclade_taxid\trelative_abundance\tcoverage\testimated_number_of_reads_from_the_clade\n\
                           k__Bacteria\t2\t100.0\t0.5\t900\n";
        let table = read("p.txt", with_counts);
        assert_eq!((table.n_samples(), table.get(0, 0)), (1, 100.0));
        let named = text.replace("Metaphlan_Analysis", "patient 7");
        let table = read("p.txt", &named);
        assert_eq!(
            (table.sample_ids(), table.get(0, 1)),
            (&["patient 7".to_string()][..], 60.5)
        );
        let other_key = named.replace(
            "#SampleID\tpatient 7",
            "#run\tpatient 7\n#estimated_reads_mapped_to_known_clades:900",
        );
        assert_eq!(read("p.txt", &other_key), table);
    }

    // MetaPhlAn 2: a profile has no header of clades, and merged profiles begin with `ID`.
    #[test]
    fn lines_of_clades_are_features_whatever_the_header_says() {
        let clades = "k__Bacteria\t100\nk__Bacteria|p__Firmicutes\t60.5\n";
        let profile = format!("#SampleID\tMetaphlan2_Analysis\n{clades}");
        let profile = table(&profile).unwrap();
        assert_eq!(profile.sample_ids(), ["t"]);
        let merged = "ID\ts1\ts2\nk__Bacteria\t100\t0\nk__Bacteria|p__Firmicutes\t60.5\t0\n";
        let merged = table(merged).unwrap();
        assert_eq!(merged.sample_ids(), ["s1", "s2"]);
        for table in [profile, merged] {
            assert_eq!((table.n_features(), table.get(0, 1)), (2, 60.5));
            assert_eq!(
                table.taxonomy.unwrap().lineages[1],
                ["Bacteria", "Firmicutes"]
            );
        }
        let below = "ID\ts1\ts2\n#SampleID\tMetaphlan2_Analysis\tMetaphlan2_Analysis\nk__A\t1\t2\nk__A|p__B\t1\t2\n";
        assert_eq!(table(below).unwrap().feature_ids(), ["k__A", "k__A|p__B"]);
        let unclassified = table("#SampleID\tMetaphlan2_Analysis\nunclassified\t100.0\n").unwrap();
        assert_eq!(unclassified.feature_ids(), ["unclassified"]);
        // Kraken's form, with ranks that have no name of their own.
        let kraken = "#Classification\ts1\ts2\nx__cell\t1\t2\nx__cell|k__B\t1\t2\nx__cell|k__B|x__FCB\t1\t2\n";
        let kraken = table(kraken).unwrap();
        assert_eq!((kraken.n_samples(), kraken.n_features()), (2, 3));
        assert_eq!(kraken.taxonomy.unwrap().finest(2), Some(("level_2", "FCB")));
        let plain = table("#SampleID\tA\ns1\t3\n").unwrap();
        assert_eq!(
            (plain.sample_ids(), plain.get(0, 0)),
            (&["s1".to_string()][..], 3.0)
        );
    }

    #[test]
    fn a_lineage_column_may_begin_with_an_empty_cell() {
        let table = table("zotu\ts1\ttaxonomy\nA\t1\t\nB\t2\tk__Bacteria\n").unwrap();
        assert_eq!((table.sample_ids().len(), table.n_features()), (1, 2));
        assert_eq!(table.taxonomy.unwrap().lineages, [[""], ["Bacteria"]]);
    }

    #[test]
    fn a_feature_called_taxon_does_not_turn_a_table_of_samples_around() {
        for id in ["sample", "", "id"] {
            let table = table(&format!("{id}\tTaxon\tB\ns1\t1\t2\n")).unwrap();
            assert_eq!(
                (table.sample_ids(), table.feature_ids()),
                (
                    &["s1".to_string()][..],
                    &["Taxon".to_string(), "B".to_string()][..]
                )
            );
        }
    }

    #[test]
    fn a_metaphlan_table_gets_its_lineages_from_the_clade_names() {
        let text = "#mpa_v31_CHOCOPhlAn_201901\nclade_name\tNCBI_tax_id\ts1\n\
                    k__Bacteria\t2\t60.5\nk__Bacteria|p__Firmicutes\t2|1239\t60.5\n";
        let table = table(text).unwrap();
        assert_eq!(table.get(0, 1), 60.5);
        assert_eq!(
            table.feature_metadata.columns()[0].values.text(1).unwrap(),
            "2|1239"
        );
        assert_eq!(
            table.taxonomy.unwrap().lineages[1],
            ["Bacteria", "Firmicutes"]
        );
    }

    #[test]
    fn errors_name_line_column_what_was_found_and_what_was_expected() {
        let m = message("id\ta\tb\ns1\t1\tx7\n");
        assert!(
            m.starts_with("t.tsv: line 2, column 3 (\"b\"): found \"x7\", expected a number"),
            "{m}"
        );
        let m = message("id\ta\tb\n\ns1\t1\n");
        assert!(m.contains("line 3: found 2 fields, expected 3"), "{m}");
        let m = message("id\ta\ns1\t1\ns1\t2\n");
        assert!(
            m.contains("line 3") && m.contains("first seen on line 2"),
            "{m}"
        );
        let m = message("id\ta\ta\ns1\t1\t2\n");
        assert!(
            m.contains("line 1, column 3") && m.contains("first seen in column 2"),
            "{m}"
        );
        let m = message("id\ta\ns1\t-1\n");
        assert!(
            m.contains("found \"-1\", expected a number that is not negative"),
            "{m}"
        );
        for text in [
            "",
            "# only a comment\n",
            "id\ta\n",
            "id\n",
            "id\ta\ns1\tinf\n",
            "id\ta\n\t1\n",
        ] {
            assert!(matches!(table(text), Err(Error::Format { .. })), "{text:?}");
        }
        assert!(message("id\ta\ns1\t1e400\n").contains("finite"));
    }

    #[test]
    fn binary_and_cut_gzip_files_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tsv.gz");
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        for i in 0..5000 {
            writeln!(gz, "s{i}\t{}", i * 7919 % 1013).unwrap();
        }
        let bytes = gz.finish().unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let m = read(&path, &TsvOptions::default()).unwrap_err().to_string();
        assert!(m.contains("gzip stream that ends early"), "{m}");
        std::fs::write(&path, b"\x89HDF\r\n\x1a\n\x00").unwrap();
        let m = read(&path, &TsvOptions::default()).unwrap_err().to_string();
        assert!(m.contains("not UTF-8"), "{m}");
        assert!(matches!(
            read(&folder.path().join("none.tsv"), &TsvOptions::default()),
            Err(Error::Io { .. })
        ));
    }

    #[test]
    fn compressed_and_plain_files_of_either_layout_read_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = table("#OTU ID\ts,1\ts\"2\"\nt1\t0.1\t0\nt2\tNaN\t1e300\n").unwrap();
        let lineages = ["k__A; p__B", "k__A; p__"];
        table.taxonomy = Some(Taxonomy::parse(&lineages).unwrap());
        for name in ["a.tsv", "a.tsv.gz", "a.csv", "a.csv.gz"] {
            let path = folder.path().join(name);
            let orientation = Orientation::SamplesInColumns;
            let write_options = WriteOptions {
                orientation,
                ..Default::default()
            };
            crate::format::write(&table, &path, &write_options).unwrap();
            let back = read(&path, &TsvOptions::default()).unwrap();
            assert_eq!(back.sample_ids(), table.sample_ids(), "{name}");
            assert_eq!(back.taxonomy, table.taxonomy, "{name}");
            assert_same_bits(&back, &table);
            assert_eq!(
                std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]),
                name.ends_with("gz")
            );
        }
    }

    fn assert_same_bits(a: &Table, b: &Table) {
        let bits = |t: &Table| t.to_dense().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(a), bits(b));
    }

    proptest! {
        #[test]
        fn any_finite_table_is_written_without_loss(
            values in proptest::collection::vec(
                prop_oneof![Just(0.0), Just(f64::NAN), 0.0..f64::MAX, 0.0..1e-300, (0u32..9999).prop_map(f64::from)],
                12,
            ),
            in_columns in any::<bool>(),
        ) {
            let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
            let table = Table::from_dense(ids("s", 3), ids("t", 4), &values).unwrap();
            let orientation =
                if in_columns { Orientation::SamplesInColumns } else { Orientation::SamplesInRows };
            let mut text = Vec::new();
            write_to(&mut text, &table, &TsvOptions { orientation, ..Default::default() }).unwrap();
            let back = read_from(&text[..], Path::new("t.tsv"), &TsvOptions::default()).unwrap();
            prop_assert_eq!(back.sample_ids(), table.sample_ids());
            assert_same_bits(&back, &table);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[#a-c0-9.\t,;\"\r\n-]{0,80}") {
            let _ = table(&text);
        }
    }
}
