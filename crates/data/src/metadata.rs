//! Columns of facts about samples or features, with missing values kept as missing.

use crate::metadata_tsv::is_missing;
use crate::{Error, Result};
use std::collections::HashMap;

/// The values of one column. Missing is `NaN` for numbers and `None` for the others.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// Numbers; `NaN` is missing.
    Numeric(Vec<f64>),
    /// A fixed set of levels; `None` is missing.
    Categorical {
        /// Names of the levels, in their stored order.
        levels: Vec<String>,
        /// Index into `levels` per row.
        codes: Vec<Option<u32>>,
        /// Whether the levels go from low to high, as `levels` has them.
        ordered: bool,
    },
    /// Free text; `None` is missing.
    Text(Vec<Option<String>>),
    /// Yes or no; `None` is missing.
    Boolean(Vec<Option<bool>>),
}

/// A named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name as in the file.
    pub name: String,
    /// Values, one per row.
    pub values: ColumnValues,
}

/// A data frame whose rows are samples (or features), in the order of `ids`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    ids: Vec<String>,
    columns: Vec<Column>,
}

/// Whole numbers up to here are different as f64.
const MAX_EXACT: u128 = 1 << 53;

impl ColumnValues {
    /// Whole numbers, `None` for a missing one: as texts if one is so large that as f64 it could be another, as names
    /// that are numbers may be.
    pub fn of_whole_numbers(values: impl Iterator<Item = Option<i128>>) -> ColumnValues {
        let values: Vec<Option<i128>> = values.collect();
        if values
            .iter()
            .flatten()
            .any(|x| x.unsigned_abs() > MAX_EXACT)
        {
            let texts = values.iter().map(|x| x.map(|x| x.to_string()));
            return ColumnValues::Text(texts.collect());
        }
        ColumnValues::Numeric(
            values
                .iter()
                .map(|x| x.map_or(f64::NAN, |x| x as f64))
                .collect(),
        )
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            ColumnValues::Numeric(v) => v.len(),
            ColumnValues::Categorical { codes, .. } => codes.len(),
            ColumnValues::Text(v) => v.len(),
            ColumnValues::Boolean(v) => v.len(),
        }
    }

    /// Says whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a row as text, `None` where it is missing.
    ///
    /// Whole numbers are written without a decimal point.
    pub fn text(&self, row: usize) -> Option<String> {
        match self {
            ColumnValues::Numeric(v) => (!v[row].is_nan()).then(|| format!("{}", v[row])),
            ColumnValues::Categorical { levels, codes, .. } => {
                codes[row].map(|code| levels[code as usize].clone())
            }
            ColumnValues::Text(v) => v[row].clone(),
            ColumnValues::Boolean(v) => v[row].map(|b| b.to_string()),
        }
    }

    /// The values as numbers, `NaN` where missing, also of texts that are all numbers, as many files store them.
    ///
    /// `None` for truth values, for words, where no value is known, and for names that are made of digits and that
    /// numbers would make alike: `007`, whole numbers of over 15 digits, `1104.1` beside `1104.10`.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        if let ColumnValues::Numeric(values) = self {
            return Some(values.clone());
        }
        let texts = self.known_texts();
        let mut present = texts.iter().flatten().map(String::as_str).peekable();
        let is_words = matches!(self, ColumnValues::Boolean(_)) || present.peek().is_none();
        if is_words || !are_numbers(present) {
            return None;
        }
        let number = |text: &Option<String>| text.as_deref().and_then(parse_number);
        let numbers = texts.iter().map(|text| number(text).unwrap_or(f64::NAN));
        Some(numbers.collect())
    }

    /// Two texts that are one number, as `1104.1` and `1104.10`, and that alone make names of the texts of a column that
    /// are all numbers.
    pub fn alike_as_numbers(&self) -> Option<(String, String)> {
        if !matches!(
            self,
            ColumnValues::Text(_) | ColumnValues::Categorical { .. }
        ) {
            return None;
        }
        let texts = self.known_texts();
        let mut seen = WithPoint::default();
        let mut alike = None;
        for text in texts.iter().flatten().map(|text| text.trim()) {
            let number = parse_number(text).filter(|_| !is_name_of_digits(text))?;
            let before = seen.take(number, text);
            alike = alike.or(before.map(|before| (before.to_string(), text.to_string())));
        }
        alike
    }

    /// Value of each row as text, none where missing or named so.
    fn known_texts(&self) -> Vec<Option<String>> {
        let known = |row| self.text(row).filter(|text| !is_missing(text));
        (0..self.len()).map(known).collect()
    }

    /// Rows in a new order; `None` makes a missing value.
    pub fn take(&self, rows: &[Option<usize>]) -> ColumnValues {
        match self {
            ColumnValues::Numeric(v) => ColumnValues::Numeric(
                rows.iter()
                    .map(|row| row.map_or(f64::NAN, |row| v[row]))
                    .collect(),
            ),
            ColumnValues::Categorical {
                levels,
                codes,
                ordered,
            } => ColumnValues::Categorical {
                levels: levels.clone(),
                ordered: *ordered,
                codes: rows
                    .iter()
                    .map(|row| row.and_then(|row| codes[row]))
                    .collect(),
            },
            ColumnValues::Text(v) => ColumnValues::Text(
                rows.iter()
                    .map(|row| row.and_then(|row| v[row].clone()))
                    .collect(),
            ),
            ColumnValues::Boolean(v) => {
                ColumnValues::Boolean(rows.iter().map(|row| row.and_then(|row| v[row])).collect())
            }
        }
    }
}

impl Metadata {
    /// A data frame with these rows and columns.
    ///
    /// # Errors
    /// A duplicate id, or a column of another length than `ids`.
    pub fn new(ids: Vec<String>, columns: Vec<Column>) -> Result<Self> {
        check_unique("sample", &ids)?;
        for column in &columns {
            if column.values.len() != ids.len() {
                return Err(Error::Shape {
                    what: format!("rows of metadata column {:?}", column.name),
                    found: column.values.len(),
                    expected: ids.len(),
                });
            }
        }
        Ok(Metadata { ids, columns })
    }

    /// A data frame with rows and no column.
    pub fn empty(ids: Vec<String>) -> Self {
        Metadata {
            ids,
            columns: Vec::new(),
        }
    }

    /// Row ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Columns in file order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Which columns there are, in words, for whoever asked for another.
    pub fn columns_in_words(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        match names.is_empty() {
            true => "the table has no metadata (join a sheet with -m FILE)".to_string(),
            false => format!("there are: {}", names.join(", ")),
        }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Adds a column, or replaces the one of the same name.
    ///
    /// # Errors
    /// A column of another length than the rows.
    pub fn set_column(&mut self, column: Column) -> Result<()> {
        if column.values.len() != self.ids.len() {
            return Err(Error::Shape {
                what: format!("rows of metadata column {:?}", column.name),
                found: column.values.len(),
                expected: self.ids.len(),
            });
        }
        match self.columns.iter_mut().find(|old| old.name == column.name) {
            Some(old) => *old = column,
            None => self.columns.push(column),
        }
        Ok(())
    }

    /// The rows of `ids` in that order; an id without a row gets missing values.
    pub fn align(&self, ids: &[String]) -> Metadata {
        let row_of: HashMap<&str, usize> = self
            .ids
            .iter()
            .enumerate()
            .map(|(row, id)| (id.as_str(), row))
            .collect();
        let rows: Vec<Option<usize>> = ids
            .iter()
            .map(|id| row_of.get(id.as_str()).copied())
            .collect();
        Metadata {
            ids: ids.to_vec(),
            columns: self
                .columns
                .iter()
                .map(|column| Column {
                    name: column.name.clone(),
                    values: column.values.take(&rows),
                })
                .collect(),
        }
    }
}

/// Digits of a whole number that are kept whatever they are.
const EXACT_DIGITS: usize = 15;

/// A finite number; `inf` and `nan` are words.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let number = text.trim().parse::<f64>().ok();
    number.filter(|value| value.is_finite())
}

/// Says whether texts are numbers, and not names made of digits that numbers would make alike: `007`, whole numbers of
/// over 15 digits, `1104.1` beside `1104.10`.
pub(crate) fn are_numbers<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = WithPoint::default();
    for text in texts.map(str::trim) {
        let Some(number) = parse_number(text) else {
            return false;
        };
        if is_name_of_digits(text) || seen.take(number, text).is_some() {
            return false;
        }
    }
    true
}

/// Says whether a number loses what its text says: zeros in front, or more digits than are kept.
fn is_name_of_digits(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leads_with_zero =
        digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    leads_with_zero || is_whole && digits.len() > EXACT_DIGITS
}

/// Texts with a point or an exponent, by the number that they are.
#[derive(Default)]
struct WithPoint<'a>(HashMap<u64, &'a str>);

impl<'a> WithPoint<'a> {
    /// Takes one in, and returns another text that is the same number.
    fn take(&mut self, number: f64, text: &'a str) -> Option<&'a str> {
        if !text.contains(['.', 'e', 'E']) {
            return None;
        }
        let before = *self.0.entry(number.to_bits()).or_insert(text);
        (before != text).then_some(before)
    }
}

/// Fails on the first id that occurs twice.
pub(crate) fn check_unique(axis: &'static str, ids: &[String]) -> Result<()> {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
    for (position, id) in ids.iter().enumerate() {
        if let Some(first) = seen.insert(id, position) {
            return Err(Error::DuplicateId {
                axis,
                id: id.clone(),
                first: first + 1,
                second: position + 1,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(texts: &[&str]) -> Option<Vec<f64>> {
        let texts = texts.iter().map(|text| Some(text.to_string()));
        ColumnValues::Text(texts.collect()).numbers()
    }

    #[test]
    fn texts_that_are_numbers_are_read_as_such_and_names_of_digits_are_not() {
        assert_eq!(
            numbers(&["35", "7.5", "-0.5", "1e3", "7", "7.0"]).unwrap(),
            [35.0, 7.5, -0.5, 1000.0, 7.0, 7.0]
        );
        let with_missing = numbers(&["35", "", "NA"]).unwrap();
        assert!(with_missing[0] == 35.0 && with_missing[1].is_nan() && with_missing[2].is_nan());
        for names in [
            &["001", "2"][..],
            &["1104.1", "1104.10"],
            &["1e5", "10e4"],
            &["123456789012345678"],
            &["35", "old"],
            &["inf"],
            &["", "NA"],
            &[],
        ] {
            assert_eq!(numbers(names), None, "{names:?}");
        }
        assert_eq!(ColumnValues::Boolean(vec![Some(true)]).numbers(), None);
    }

    #[test]
    fn what_alone_makes_names_of_numbers_is_told() {
        let alike = |texts: &[&str]| {
            let texts = texts.iter().map(|text| Some(text.to_string()));
            ColumnValues::Text(texts.collect()).alike_as_numbers()
        };
        let pair = Some(("6.31".to_string(), "6.310".to_string()));
        assert_eq!(alike(&["7", "6.31", "NA", "6.310", "5.0", "5.00"]), pair);
        for texts in [
            &["7", "7.0"][..],
            &["6.31", "6.310", "old"],
            &["6.31", "6.310", "007"],
            &[],
        ] {
            assert_eq!(alike(texts), None, "{texts:?}");
        }
    }
}
