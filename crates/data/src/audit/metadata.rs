//! Metadata that tell on a label, and samples that share a subject.

use super::{Finding, Kind, names};
use crate::metadata_tsv::is_missing;
use crate::{Column, ColumnValues, Error, Metadata, Result, Table};
use std::collections::BTreeMap;

/// Words that name a subject, and words that may stand beside them: `host_subject_id`.
const SUBJECTS: [&str; 7] = [
    "subject",
    "patient",
    "individual",
    "participant",
    "donor",
    "person",
    "case",
];
const BESIDE: [&str; 10] = [
    "id", "ids", "host", "barcode", "number", "no", "code", "name", "uuid", "key",
];

/// Fewest rows on which one column is compared with another.
const MIN_ROWS: usize = 10;

/// Fewest rows outside of the largest level that a column must tell right.
const MIN_TOLD: usize = 5;

/// Where the name of the subject column comes from.
#[derive(Clone, Copy)]
enum Source {
    Given,
    Guessed,
}

/// Levels of a column: a number per row, `None` where missing.
struct Levels<'a> {
    column: &'a Column,
    of_row: Vec<Option<usize>>,
    names: Vec<String>,
}

/// The column that names the subject of each sample, by its name: `subject`, `patient_barcode`,
/// `host_subject_id`, `individual` and the like.
pub fn guess_subject(metadata: &Metadata) -> Option<&str> {
    let is_subject = |name: &str| {
        let name = name.to_lowercase();
        let words: Vec<&str> = name
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let is_meant = |word: &&str| SUBJECTS.contains(&word.strip_suffix("id").unwrap_or(word));
        words.iter().filter(|word| is_meant(word)).count() == 1
            && words
                .iter()
                .all(|word| is_meant(word) || BESIDE.contains(word))
    };
    let mut columns = metadata.columns().iter();
    let found = columns.find(|column| is_subject(&column.name))?;
    Some(&found.name)
}

pub(super) fn findings(table: &Table, subject: Option<&str>) -> Result<Vec<Finding>> {
    let metadata = &table.sample_metadata;
    if let Some(name) = subject.filter(|name| metadata.column(name).is_none()) {
        return Err(Error::no_column(metadata, name, "to name subjects"));
    }
    let (subject, source) = match subject {
        Some(name) => (Some(name), Source::Given),
        None => (guess_subject(metadata), Source::Guessed),
    };
    let levels: Vec<Levels> = metadata.columns().iter().map(Levels::of).collect();
    let mut findings = Vec::new();
    let subjects = levels
        .iter()
        .find(|l| Some(l.column.name.as_str()) == subject);
    findings.extend(subjects.and_then(|subjects| repeated(table, subjects, source)));
    findings.extend(unique(&levels));
    findings.extend(determined(&levels, subject));
    Ok(findings)
}

impl<'a> Levels<'a> {
    fn of(column: &'a Column) -> Levels<'a> {
        let texts: Vec<Option<String>> = (0..column.values.len())
            .map(|row| column.values.text(row).filter(|text| !is_missing(text)))
            .collect();
        let mut number: BTreeMap<&String, usize> = BTreeMap::new();
        for text in texts.iter().flatten() {
            number.insert(text, 0);
        }
        for (position, slot) in number.values_mut().enumerate() {
            *slot = position;
        }
        Levels {
            column,
            of_row: texts
                .iter()
                .map(|text| text.as_ref().map(|text| number[text]))
                .collect(),
            names: number.keys().map(|text| (*text).clone()).collect(),
        }
    }

    /// Says whether it holds quantities: numbers, and texts that are numbers some of which are not whole (whole ones
    /// may be names).
    fn is_numeric(&self) -> bool {
        match &self.column.values {
            ColumnValues::Numeric(_) => true,
            texts => (texts.numbers())
                .is_some_and(|numbers| numbers.iter().any(|x| !x.is_nan() && x.fract() != 0.0)),
        }
    }
}

fn repeated(table: &Table, subjects: &Levels, source: Source) -> Option<Finding> {
    let mut samples = vec![Vec::new(); subjects.names.len()];
    for (sample, subject) in subjects.of_row.iter().enumerate() {
        if let Some(subject) = subject {
            samples[*subject].push(sample);
        }
    }
    let groups: Vec<Vec<String>> = samples
        .iter()
        .zip(&subjects.names)
        .filter(|(samples, _)| samples.len() > 1)
        .map(|(samples, subject)| {
            let mut group = vec![subject.clone()];
            group.extend(names(table.sample_ids(), samples));
            group
        })
        .collect();
    if groups.is_empty() {
        return None;
    }
    let column = &subjects.column.name;
    let source = match source {
        Source::Guessed => {
            format!("column {column:?}, guessed by its name; name another with --subject")
        }
        Source::Given => format!("column {column:?}"),
    };
    let n_samples: usize = groups.iter().map(|group| group.len() - 1).sum();
    Some(Finding::new(
        Kind::RepeatedSubjects,
        format!(
            "{} of {} subjects have more than one sample, {n_samples} in all ({source}): a subject on both sides of a split gives its test samples away",
            groups.len(),
            subjects.names.len()
        ),
        &format!("keep a subject on one side of a split: --group {column}"),
        groups,
    ))
}

fn unique(levels: &[Levels]) -> Option<Finding> {
    let is_unique = |levels: &&Levels| {
        levels.of_row.len() >= MIN_ROWS
            && levels.names.len() == levels.of_row.len()
            && !levels.is_numeric()
    };
    let columns: Vec<String> = levels
        .iter()
        .filter(is_unique)
        .map(|levels| levels.column.name.clone())
        .collect();
    if columns.is_empty() {
        return None;
    }
    Some(Finding::new(
        Kind::UniqueColumns,
        format!(
            "{} metadata columns have another value in each sample: they name the sample and tell nothing that holds for a new one",
            columns.len()
        ),
        "leave them out of what a model is conditioned on: --metadata-columns",
        vec![columns],
    ))
}

fn determined(levels: &[Levels], subject: Option<&str>) -> Vec<Finding> {
    let mut one_to_one = Vec::new();
    let mut one_way = Vec::new();
    let tells: Vec<Vec<bool>> = levels
        .iter()
        .map(|a| {
            levels
                .iter()
                .map(|b| !std::ptr::eq(a, b) && tells(a, b))
                .collect()
        })
        .collect();
    let pair = |a: usize, b: usize| [a, b].map(|at| levels[at].column.name.clone()).to_vec();
    for a in 0..levels.len() {
        for b in (0..levels.len()).filter(|b| tells[a][*b]) {
            if tells[b][a] {
                if a < b {
                    one_to_one.push(pair(a, b));
                }
            } else if !levels[b].is_numeric() && Some(levels[a].column.name.as_str()) != subject {
                // Of course a subject has one sex; that is no news.
                one_way.push(pair(a, b));
            }
        }
    }
    let mut findings = Vec::new();
    if !one_to_one.is_empty() {
        findings.push(Finding::new(
            Kind::OneToOneColumns,
            format!(
                "{} pairs of metadata columns say the same: if the one is the label, the other gives it away",
                one_to_one.len()
            ),
            "when one of a pair is to be predicted or drawn, leave the other out: --metadata-columns",
            one_to_one,
        ));
    }
    if !one_way.is_empty() {
        findings.push(Finding::new(
            Kind::DeterminedColumn,
            format!(
                "{} times a metadata column determines another: if the other is the label, the one gives it away",
                one_way.len()
            ),
            "when the second of a pair is to be predicted or drawn, leave the first out: --metadata-columns",
            one_way,
        ));
    }
    findings
}

/// Says whether `a` determines `b` wherever both are known, in enough rows to be no accident.
fn tells(a: &Levels, b: &Levels) -> bool {
    let mut told: Vec<Option<usize>> = vec![None; a.names.len()];
    let mut n_rows_a = vec![0usize; a.names.len()];
    let mut n_rows_b = vec![0usize; b.names.len()];
    for (a, b) in a.of_row.iter().zip(&b.of_row) {
        let (Some(a), Some(b)) = (a, b) else { continue };
        if told[*a].is_some_and(|told| told != *b) {
            return false;
        }
        told[*a] = Some(*b);
        n_rows_a[*a] += 1;
        n_rows_b[*b] += 1;
    }
    let n_rows: usize = n_rows_a.iter().sum();
    let n_levels = n_rows_a.iter().filter(|n| **n > 0).count();
    let Some(largest) = (0..n_rows_b.len()).max_by_key(|b| n_rows_b[*b]) else {
        return false;
    };
    // Rows of the other levels that a level seen before would have told.
    let n_told: usize = (told.iter().zip(&n_rows_a))
        .filter(|(told, n)| told.is_some_and(|told| told != largest) && **n > 1)
        .map(|(_, n)| *n)
        .sum();
    n_rows >= MIN_ROWS && 2 * n_levels <= n_rows && n_told >= MIN_TOLD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditOptions, audit};

    fn table(columns: &[(&str, &dyn Fn(usize) -> String)]) -> Table {
        let ids = |p: &str, n: usize| (0..n).map(|i| format!("{p}{i}")).collect::<Vec<_>>();
        let dense: Vec<f64> = (0..60).map(|i| f64::from(1 + i * i % 7 + i % 2)).collect();
        let mut table = Table::from_dense(ids("s", 20), ids("t", 3), &dense).unwrap();
        for (name, value) in columns {
            let texts = (0..20).map(|row| Some(value(row)).filter(|text| !text.is_empty()));
            let column = Column {
                name: name.to_string(),
                values: ColumnValues::Text(texts.collect()),
            };
            table.sample_metadata.set_column(column).unwrap();
        }
        table
    }

    fn groups(table: &Table, kind: Kind) -> Vec<Vec<String>> {
        let audit = audit(table, &AuditOptions::default()).unwrap();
        audit
            .finding(kind)
            .map(|f| f.groups.clone())
            .unwrap_or_default()
    }

    #[test]
    fn subjects_with_several_samples_are_found_by_the_name_of_a_column() {
        let subject = |row: usize| match row {
            0 | 7 => "A".to_string(),
            3 => String::new(),
            row => format!("p{row}"),
        };
        let with = table(&[
            ("sex", &|row| (row % 2).to_string()),
            ("host_subject_id", &subject),
        ]);
        assert_eq!(groups(&with, Kind::RepeatedSubjects), [["A", "s0", "s7"]]);
        let audit_of = |subject: &str| {
            let options = AuditOptions {
                subject: Some(subject.to_string()),
            };
            audit(&with, &options)
        };
        let audit = audit_of("sex").unwrap();
        assert_eq!(
            audit.finding(Kind::RepeatedSubjects).unwrap().groups.len(),
            2
        );
        assert!(
            audit_of("nobody")
                .unwrap_err()
                .to_string()
                .contains("host_subject_id")
        );
    }

    #[test]
    fn names_of_subject_columns_are_told_from_facts_about_subjects() {
        let guess = |name: &str| {
            guess_subject(&table(&[(name, &|_| "x".to_string())]).sample_metadata).is_some()
        };
        for name in [
            "subject",
            "PatientID",
            "patient_barcode",
            "host_subject_id",
            "Individual",
            "donor.id",
            "case_id",
        ] {
            assert!(guess(name), "{name}");
        }
        for name in [
            "patient_age",
            "subject_sex",
            "id",
            "host",
            "case_control",
            "subjective",
        ] {
            assert!(!guess(name), "{name}");
        }
    }

    #[test]
    fn columns_that_give_a_label_away_are_paired() {
        let with = table(&[
            ("label", &|row| ["case", "control"][row % 2].to_string()),
            ("code", &|row| (row % 2).to_string()),
            ("site", &|row| format!("site{}", row % 4)),
            ("free", &|row| (row / 3 % 3).to_string()),
            ("barcode", &|row| format!("b{row}")),
            ("bmi", &|row| format!("{}.25", 20 + row)),
            ("constant", &|_| "x".to_string()),
        ]);
        assert_eq!(groups(&with, Kind::OneToOneColumns), [["label", "code"]]);
        assert_eq!(
            groups(&with, Kind::DeterminedColumn),
            [["site", "label"], ["site", "code"]]
        );
        assert_eq!(groups(&with, Kind::UniqueColumns), [["barcode"]]);
    }

    #[test]
    fn what_few_rows_show_is_no_finding() {
        // Two rows of another level, each in a level of its own.
        let with = table(&[
            ("rare", &|row| u8::from(row < 2).to_string()),
            ("site", &|row| {
                if row < 2 {
                    format!("x{row}")
                } else {
                    "y".to_string()
                }
            }),
        ]);
        assert_eq!(
            groups(&with, Kind::DeterminedColumn),
            Vec::<Vec<String>>::new()
        );
    }
}
