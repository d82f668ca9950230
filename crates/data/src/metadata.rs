//! Columns of facts about samples or features, with missing values kept as missing.

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

impl ColumnValues {
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
            ColumnValues::Categorical { levels, codes } => {
                codes[row].map(|code| levels[code as usize].clone())
            }
            ColumnValues::Text(v) => v[row].clone(),
            ColumnValues::Boolean(v) => v[row].map(|b| b.to_string()),
        }
    }

    /// Rows in a new order; `None` makes a missing value.
    pub fn take(&self, rows: &[Option<usize>]) -> ColumnValues {
        match self {
            ColumnValues::Numeric(v) => ColumnValues::Numeric(
                rows.iter()
                    .map(|row| row.map_or(f64::NAN, |row| v[row]))
                    .collect(),
            ),
            ColumnValues::Categorical { levels, codes } => ColumnValues::Categorical {
                levels: levels.clone(),
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
