//! Metadata as delimited text (TSV, CSV), by the rules of QIIME 2, and its join with a table.
//!
//! The first column holds the ids, whatever its name (`id`, `sample-id`, `#SampleID`, `feature-id`,
//! ...). Lines that start with `#` are comments. A line `#q2:types` forces columns to be `numeric`
//! or `categorical`. Fields are trimmed; short lines are filled up with missing values.
//!
//! Types where nothing forces them: all numbers, `Numeric`, but for names made of digits that numbers would make alike
//! (`007`, `1104.1` beside `1104.10`, over 15 digits); all `true` or `false`, `Boolean`; few
//! distinct values (at most 20, or at most half of the rows), `Categorical` with sorted levels;
//! else `Text`. A column without any value is `Text`.

use crate::delimited::{Delimited, Delimiter, write_text};
use crate::format::Overwrite;
use crate::metadata::{are_numbers, parse_number};
use crate::{Column, ColumnValues, Error, Metadata, Result, Table};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufRead, Write};
use std::path::Path;

/// Texts that mean "missing", in lower case; case and outer whitespace do not matter.
///
/// The list is conservative: what data frames write (`NA`, `NaN`, `null`), what TCGA writes in
/// brackets, and the missing-value terms of the INSDC. `unknown` and `none` are kept as values,
/// since studies use them as levels.
pub const MISSING: [&str; 17] = [
    "",
    "na",
    "n/a",
    "<na>",
    "nan",
    "null",
    "not available",
    "[not available]",
    "[not applicable]",
    "[not evaluated]",
    "[unknown]",
    "[discrepancy]",
    "missing",
    "not applicable",
    "not collected",
    "not provided",
    "restricted access",
];

/// Up to this many distinct values, a column of words is categorical whatever its length.
const N_LEVELS_ALWAYS: usize = 20;

/// How many ids an error shows of either side.
const N_EXAMPLES: usize = 3;

/// What a join found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReport {
    /// Samples of the table that have a row in the metadata.
    pub n_matched: usize,
    /// Samples of the table without a row; their values are missing.
    pub missing_in_metadata: Vec<String>,
    /// Rows of the metadata without a sample in the table.
    pub unused: Vec<String>,
}

/// Says whether a field means "missing" (see [`MISSING`]).
pub fn is_missing(text: &str) -> bool {
    MISSING.contains(&text.trim().to_lowercase().as_str())
}

/// Reads metadata.
///
/// # Errors
/// A file that cannot be read or is cut short; an empty or repeated id or column name; a line with
/// more fields than the header; a `#q2:types` that the values do not meet, or an unknown directive.
pub fn read(path: &Path) -> Result<Metadata> {
    parse(Delimited::open(path, Delimiter::Auto)?)
}

/// Reads metadata from decompressed text; `path` stands in messages only.
///
/// # Errors
/// As [`read`].
pub fn read_from(reader: impl BufRead, path: &Path) -> Result<Metadata> {
    parse(Delimited::new(Box::new(reader), path, Delimiter::Auto)?)
}

/// A type that `#q2:types` forces.
#[derive(Clone, Copy, PartialEq)]
enum ForcedType {
    Numeric,
    Categorical,
}

fn parse(mut file: Delimited<'_>) -> Result<Metadata> {
    file.check_header(1, "a column name")?;
    let names: Vec<String> = file.header()[1..].to_vec();
    let mut ids: Vec<String> = Vec::new();
    let mut lines: Vec<usize> = Vec::new();
    let mut line_of: HashMap<String, usize> = HashMap::new();
    let mut cells: Vec<Vec<Option<String>>> = vec![Vec::new(); names.len()];
    let mut forced: Vec<Option<ForcedType>> = vec![None; names.len()];
    let mut refuses_missing = vec![false; names.len()];
    while let Some((line, record)) = file.next_record()? {
        let id = record.get(0).unwrap_or("").trim().to_string();
        let field = |column: usize| record.get(column + 1).unwrap_or("").trim();
        if id == "#q2:types" {
            for (column, forced) in forced.iter_mut().enumerate() {
                *forced = match field(column).to_lowercase().as_str() {
                    "" => None,
                    "numeric" => Some(ForcedType::Numeric),
                    "categorical" => Some(ForcedType::Categorical),
                    other => {
                        return Err(file.field_error(
                            line,
                            column + 1,
                            format!("type {other:?}"),
                            "numeric, categorical or nothing",
                        ));
                    }
                };
            }
            continue;
        }
        if id == "#q2:missing" {
            for (column, refuses) in refuses_missing.iter_mut().enumerate() {
                *refuses = match field(column).to_lowercase().as_str() {
                    "" | "blank" | "insdc:missing" => false,
                    "no-missing" => true,
                    other => {
                        return Err(file.field_error(
                            line,
                            column + 1,
                            format!("missing scheme {other:?}"),
                            "blank, no-missing or INSDC:missing",
                        ));
                    }
                };
            }
            continue;
        }
        if id.starts_with("#q2:") {
            let expected = "#q2:types or #q2:missing";
            return Err(file.field_error(line, 0, format!("directive {id:?}"), expected));
        }
        if id.starts_with('#') || record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        if record
            .iter()
            .skip(names.len() + 1)
            .any(|field| !field.trim().is_empty())
        {
            return Err(file.error(
                line,
                format!("{} fields", record.len()),
                format!("{} as in the header", names.len() + 1),
            ));
        }
        if id.is_empty() {
            return Err(file.field_error(line, 0, "an empty id", "the id of this line"));
        }
        if let Some(first) = line_of.insert(id.clone(), line) {
            return Err(file.field_error(
                line,
                0,
                format!("id {id:?} again, first seen on line {first}"),
                "ids that occur once; remove or rename one of the lines",
            ));
        }
        for (column, values) in cells.iter_mut().enumerate() {
            let text = field(column);
            if refuses_missing[column] && is_missing(text) {
                let expected = "a value, since #q2:missing says no-missing";
                return Err(file.field_error(line, column + 1, format!("{text:?}"), expected));
            }
            values.push((!is_missing(text)).then(|| text.to_string()));
        }
        ids.push(id);
        lines.push(line);
    }
    if ids.is_empty() {
        return Err(file.error(2, "the end of the file", "at least one line with an id"));
    }
    let mut columns = Vec::with_capacity(names.len());
    for (column, (name, cells)) in names.into_iter().zip(cells).enumerate() {
        let values = match forced[column] {
            Some(ForcedType::Categorical) => categorical(&cells),
            Some(ForcedType::Numeric) => {
                let is_bad = |cell: &Option<String>| {
                    cell.as_deref()
                        .is_some_and(|text| parse_number(text).is_none())
                };
                if let Some(row) = cells.iter().position(is_bad) {
                    return Err(file.field_error(
                        lines[row],
                        column + 1,
                        format!("{:?}", cells[row].as_deref().unwrap_or("")),
                        "a number, since #q2:types says numeric",
                    ));
                }
                numeric(&cells)
            }
            None => infer(cells),
        };
        columns.push(Column { name, values });
    }
    Metadata::new(ids, columns)
}

/// The values of a column with the type that fits them all.
pub(crate) fn infer(cells: Vec<Option<String>>) -> ColumnValues {
    let present = || cells.iter().flatten();
    let n_present = present().count();
    if n_present == 0 {
        return ColumnValues::Text(cells);
    }
    if are_numbers(present().map(String::as_str)) {
        return numeric(&cells);
    }
    if present().all(|text| parse_boolean(text).is_some()) {
        let parse = |cell: &Option<String>| cell.as_deref().and_then(parse_boolean);
        return ColumnValues::Boolean(cells.iter().map(parse).collect());
    }
    let n_distinct = present().collect::<HashSet<_>>().len();
    if n_distinct <= N_LEVELS_ALWAYS.max(n_present / 2) {
        return categorical(&cells);
    }
    ColumnValues::Text(cells)
}

fn numeric(cells: &[Option<String>]) -> ColumnValues {
    let parse = |cell: &Option<String>| cell.as_deref().and_then(parse_number).unwrap_or(f64::NAN);
    ColumnValues::Numeric(cells.iter().map(parse).collect())
}

fn categorical(cells: &[Option<String>]) -> ColumnValues {
    let levels: Vec<String> = cells
        .iter()
        .flatten()
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let code = |text: &String| {
        levels
            .binary_search(text)
            .expect("every present value is among the levels") as u32
    };
    let codes = cells.iter().map(|cell| cell.as_ref().map(code)).collect();
    ColumnValues::Categorical {
        levels,
        codes,
        ordered: false,
    }
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Writes metadata as tab-separated text with a `#q2:types` line, so that types read back.
///
/// Missing values are empty fields. Booleans and texts are `categorical` to QIIME 2; a name that
/// ends in `.gz` is compressed.
///
/// # Errors
/// A file that is there already (unless replaced) or cannot be written.
pub fn write(path: &Path, metadata: &Metadata, overwrite: Overwrite) -> Result<()> {
    write_text(path, overwrite, |out| write_to(out, metadata))
}

/// Writes metadata as text; see [`write()`].
///
/// # Errors
/// What the writer reports.
pub fn write_to(out: &mut dyn Write, metadata: &Metadata) -> std::io::Result<()> {
    let mut out = csv::WriterBuilder::new().delimiter(b'\t').from_writer(out);
    out.write_field("sample-id")?;
    out.write_record(metadata.columns().iter().map(|column| &column.name))?;
    // A type is named only where the values alone would read back as another one.
    let directive = |column: &Column| {
        let cells = (0..column.values.len())
            .map(|row| column.values.text(row))
            .collect();
        match (&column.values, infer(cells)) {
            (ColumnValues::Categorical { .. }, ColumnValues::Categorical { .. }) => "",
            (ColumnValues::Categorical { .. }, _) => "categorical",
            (ColumnValues::Numeric(_), ColumnValues::Numeric(_)) => "",
            (ColumnValues::Numeric(_), _) => "numeric",
            _ => "",
        }
    };
    let directives: Vec<&str> = metadata.columns().iter().map(directive).collect();
    if directives.iter().any(|directive| !directive.is_empty()) {
        out.write_field("#q2:types")?;
        out.write_record(&directives)?;
    }
    for (row, id) in metadata.ids().iter().enumerate() {
        out.write_field(id)?;
        let cells = metadata
            .columns()
            .iter()
            .map(|c| c.values.text(row).unwrap_or_default());
        out.write_record(cells)?;
    }
    out.flush()
}

/// Adds the columns of `metadata` to the samples of `table`; a column of the same name is replaced.
///
/// # Errors
/// No sample has a row in the metadata; the message shows ids of both.
pub fn join(table: &mut Table, metadata: &Metadata) -> Result<JoinReport> {
    let known: HashSet<&str> = metadata.ids().iter().map(String::as_str).collect();
    let samples: HashSet<&str> = table.sample_ids().iter().map(String::as_str).collect();
    let missing_in_metadata: Vec<String> = table
        .sample_ids()
        .iter()
        .filter(|id| !known.contains(id.as_str()))
        .cloned()
        .collect();
    let unused: Vec<String> = metadata
        .ids()
        .iter()
        .filter(|id| !samples.contains(id.as_str()))
        .cloned()
        .collect();
    let n_matched = table.n_samples() - missing_in_metadata.len();
    if n_matched == 0 {
        let show = |ids: &[String]| {
            ids.iter()
                .take(N_EXAMPLES)
                .map(|id| format!("{id:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        return Err(Error::NoSharedIds {
            what: "table and metadata",
            left: show(table.sample_ids()),
            right: show(metadata.ids()),
        });
    }
    for column in metadata.align(table.sample_ids()).columns() {
        table.sample_metadata.set_column(column.clone())?;
    }
    Ok(JoinReport {
        n_matched,
        missing_in_metadata,
        unused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata(text: &str) -> Result<Metadata> {
        read_from(text.as_bytes(), Path::new("m.tsv"))
    }

    fn values(text: &str, name: &str) -> ColumnValues {
        metadata(text).unwrap().column(name).unwrap().values.clone()
    }

    // The example of https://docs.qiime2.org, "Metadata in QIIME 2", with comment and directive.
    #[test]
    fn a_qiime_2_sheet_is_read_by_its_rules() {
        let text = "# made by hand\n#SampleID\tph\tsite\tcode\n#q2:types\tnumeric\tcategorical\tcategorical\n\
                    # a comment\ns1\t 7.2 \tgut\t1\ns2\t\t gut\t2\ns3\t6e0\n";
        let m = metadata(text).unwrap();
        assert_eq!(m.ids(), ["s1", "s2", "s3"]);
        let ColumnValues::Numeric(ph) = &m.column("ph").unwrap().values else {
            panic!()
        };
        assert!(ph[0] == 7.2 && ph[1].is_nan() && ph[2] == 6.0);
        assert_eq!(
            m.column("code").unwrap().values,
            ColumnValues::Categorical {
                levels: vec!["1".to_string(), "2".to_string()],
                codes: vec![Some(0), Some(1), None],
                ordered: false,
            },
            "the directive keeps number-like codes categorical"
        );
        assert_eq!(m.column("site").unwrap().values.text(1).unwrap(), "gut");
    }

    #[test]
    fn names_of_digits_stay_apart() {
        let text = "id\thost\tbarcode\tph\ns1\t1104.1\t007\t7.2\ns2\t1104.10\t7\t7\n";
        for name in ["host", "barcode"] {
            let values = values(text, name);
            assert_ne!(values.text(0), values.text(1), "{name}");
        }
        assert_eq!(values(text, "host").text(1).unwrap(), "1104.10");
        assert_eq!(values(text, "ph"), ColumnValues::Numeric(vec![7.2, 7.0]));
        let forced = text.replace("s1", "#q2:types\tnumeric\t\t\ns1");
        let forced = values(&forced, "host");
        assert_eq!(forced, ColumnValues::Numeric(vec![1104.1, 1104.1]));
    }

    #[test]
    fn types_follow_the_values_that_are_present() {
        let mut text = "id,flag,stage,free,none,mixed\n".to_string();
        for i in 0..60 {
            text += &format!(
                "s{i},{},[Not Available],note {i},NA,{}\n",
                ["TRUE", "false", "n/a"][i % 3],
                ["1", "x"][i % 2]
            );
        }
        text += "s60,,Stage II,,,\n";
        let is_missing_at = |name: &str, row: usize| values(&text, name).text(row).is_none();
        assert!(
            matches!(values(&text, "flag"), ColumnValues::Boolean(v) if v[..3] == [Some(true), Some(false), None])
        );
        assert!(
            matches!(values(&text, "stage"), ColumnValues::Categorical { levels, .. } if levels == ["Stage II"])
        );
        assert!(matches!(values(&text, "free"), ColumnValues::Text(_)));
        assert!(
            matches!(values(&text, "none"), ColumnValues::Text(v) if v.iter().all(Option::is_none))
        );
        assert!(matches!(
            values(&text, "mixed"),
            ColumnValues::Categorical { .. }
        ));
        assert!(is_missing_at("stage", 0) && is_missing_at("mixed", 60));
        assert!(!is_missing("unknown") && is_missing(" NaN ") && is_missing("Not Provided"));
    }

    #[test]
    fn bad_sheets_name_the_line_and_the_way_out() {
        let message = |text: &str| metadata(text).unwrap_err().to_string();
        let m = message("id\ta\ns1\t1\n\ns1\t2\n");
        assert!(
            m.contains("line 4") && m.contains("first seen on line 2"),
            "{m}"
        );
        let m = message("id\ta\n#q2:types\tnumeric\ns1\tx\n");
        assert!(m.contains("line 3, column 2 (\"a\"): found \"x\""), "{m}");
        let m = message("id\ta\n#q2:types\tdate\ns1\tx\n");
        assert!(m.contains("numeric, categorical"), "{m}");
        for text in [
            "id\ta\ta\ns1\t1\t2\n",
            "id\ta\ns1\t1\t2\n",
            "id\ta\n",
            "",
            "id\ta\n#q2:x\t1\ns\t1\n",
            "id\ta\n#q2:missing\tno-missing\ns1\tNA\n",
        ] {
            assert!(metadata(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn joining_reports_what_is_missing_and_refuses_strangers() {
        let ids = |ids: [&str; 3]| ids.map(String::from).to_vec();
        let mut table =
            Table::from_dense(ids(["a", "b", "c"]), ids(["x", "y", "z"]), &[1.0; 9]).unwrap();
        let report = join(
            &mut table,
            &metadata("id\tage\nc\t3\na\t1\nq\t9\n").unwrap(),
        )
        .unwrap();
        assert_eq!(
            report,
            JoinReport {
                n_matched: 2,
                missing_in_metadata: vec!["b".into()],
                unused: vec!["q".into()]
            }
        );
        let ColumnValues::Numeric(age) = &table.sample_metadata.columns()[0].values else {
            panic!()
        };
        assert!(age[0] == 1.0 && age[1].is_nan() && age[2] == 3.0);
        let strangers = metadata("id\tage\nA\t3\nB\t1\nC\t9\nD\t1\n").unwrap();
        let m = join(&mut table, &strangers).unwrap_err().to_string();
        assert!(
            m.contains(r#""a", "b", "c""#) && m.contains(r#""A", "B", "C""#),
            "{m}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[#a-c0-9:\t,;\"\r\n-]{0,80}|(id\ta\tb\n#q2:(types|missing)[a-z\t]{0,20}\n[a-c0-9\t\n]{0,40})") {
            let _ = metadata(&text);
        }

        #[test]
        fn written_metadata_reads_back_with_its_types(
            numbers in proptest::collection::vec(prop_oneof![Just(f64::NAN), -1e9..1e9], 30),
            codes in proptest::collection::vec(proptest::option::of(0u32..3), 30),
        ) {
            let ids: Vec<String> = (0..30).map(|i| format!("s{i}")).collect();
            let levels: Vec<String> = ["1", "2", "a\"b"].map(String::from).to_vec();
            let used: BTreeSet<u32> = codes.iter().flatten().copied().collect();
            prop_assume!(used.len() == 3 && numbers.iter().any(|v| !v.is_nan()));
            let columns = vec![
                Column { name: "n".into(), values: ColumnValues::Numeric(numbers.clone()) },
                Column { name: "c".into(), values: ColumnValues::Categorical { levels, codes, ordered: false } },
            ];
            let m = Metadata::new(ids, columns).unwrap();
            let mut text = Vec::new();
            write_to(&mut text, &m).unwrap();
            let back = read_from(&text[..], Path::new("m.tsv")).unwrap();
            prop_assert_eq!(&back.columns()[1], &m.columns()[1]);
            let ColumnValues::Numeric(n) = &back.columns()[0].values else { panic!() };
            for (a, b) in n.iter().zip(&numbers) {
                prop_assert!(a == b || (a.is_nan() && b.is_nan()));
            }
        }
    }
}
