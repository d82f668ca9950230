//! What the training rows say of one column: its spread or its levels, or why it is of no use.

use super::columns::Unseen;
use super::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::{Column, ColumnValues, Metadata};

/// A column with more levels than this is not made one-hot.
pub const MAX_LEVELS: usize = 32;
/// A column with more levels than this share of its values looks like an id.
pub const MAX_LEVEL_SHARE: f64 = 0.25;
/// Whole numbers stored as text are codes of levels up to this many, and quantities from there on.
const MAX_CODES: usize = 12;
/// Digits kept of a mean or standard deviation. JSON parsers that are not correctly rounded change
/// the last bit of longer numbers, and a stored encoder must give the same bits as the fitted one.
const SIGNIFICANT_DIGITS: usize = 12;

/// Why a column is left out.
#[derive(Debug, Clone, PartialEq)]
pub enum SkipReason {
    /// All rows are missing.
    NoValue,
    /// All rows that are not missing have the same value.
    Constant,
    /// So many levels that it is an id or free text: over [`MAX_LEVELS`], or over
    /// [`MAX_LEVEL_SHARE`] of the values (two levels are always few).
    TooManyLevels {
        /// Number of different values.
        n_levels: usize,
        /// Number of rows with a value.
        n_values: usize,
    },
    /// An infinite number, or numbers too large to standardise.
    NotFinite,
}

/// How a column becomes numbers, from its training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scale {
    Numeric { mean: f64, sd: f64 },
    Levels(Vec<String>),
}

/// The one number of a cell, and its place within the numbers of its column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// Place within the numbers of the column.
    pub(super) offset: usize,
    pub(super) value: f32,
}

impl Scale {
    /// What the training rows say of a column, or why it is of no use.
    pub(super) fn fit(column: &Column) -> std::result::Result<Scale, SkipReason> {
        match &column.values {
            ColumnValues::Numeric(values) => fit_numeric(values),
            values => match quantities(values) {
                Some(numbers) => fit_numeric(&numbers),
                None => fit_levels(values),
            },
        }
    }

    /// Numbers per row, with the missing flag.
    pub(super) fn width(&self) -> usize {
        match self {
            Scale::Numeric { .. } => 2,
            Scale::Levels(levels) => levels.len() + 1,
        }
    }

    /// One cell per row, `None` where missing; unseen levels are added to `unseen`.
    pub(super) fn cells(
        &self,
        column: &Column,
        metadata: &Metadata,
        unseen: &mut Vec<Unseen>,
    ) -> Result<Vec<Option<Cell>>> {
        let n_rows = metadata.ids().len();
        match self {
            Scale::Numeric { mean, sd } => (0..n_rows)
                .map(|row| {
                    let refuse = |found: String, expected: &str| Error::Cell {
                        column: column.name.clone(),
                        row: metadata.ids()[row].clone(),
                        found,
                        expected: expected.to_string(),
                    };
                    let number = match &column.values {
                        ColumnValues::Numeric(values) => values[row],
                        values => match values.text(row).filter(|text| !is_missing(text)) {
                            None => return Ok(None),
                            Some(text) => text.trim().parse().map_err(|_| {
                                refuse(format!("{text:?}"), "a number, as in training")
                            })?,
                        },
                    };
                    if number.is_nan() {
                        return Ok(None);
                    }
                    let value = ((number - mean) / sd) as f32;
                    if !value.is_finite() {
                        return Err(refuse(
                            number.to_string(),
                            "a number in the range of the training rows",
                        ));
                    }
                    Ok(Some(Cell { offset: 0, value }))
                })
                .collect(),
            Scale::Levels(levels) => {
                let mut n_unseen: BTreeMap<String, usize> = BTreeMap::new();
                let cells = (0..n_rows)
                    .map(|row| {
                        let text = column.values.text(row)?;
                        let offset = levels.iter().position(|level| *level == text);
                        if offset.is_none() {
                            *n_unseen.entry(text).or_default() += 1;
                        }
                        offset.map(|offset| Cell { offset, value: 1.0 })
                    })
                    .collect();
                unseen.extend(n_unseen.into_iter().map(|(level, n_rows)| Unseen {
                    column: column.name.clone(),
                    level,
                    n_rows,
                }));
                Ok(cells)
            }
        }
    }
}

fn fit_numeric(values: &[f64]) -> std::result::Result<Scale, SkipReason> {
    let known: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    let Some(first) = known.first() else {
        return Err(SkipReason::NoValue);
    };
    if known.iter().all(|value| value == first) {
        return Err(SkipReason::Constant);
    }
    let n = known.len() as f64;
    let mean = known.iter().sum::<f64>() / n;
    let variance = known
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / n;
    let (mean, sd) = (round_significant(mean), round_significant(variance.sqrt()));
    // Values a rounding error apart, or of 1e200, have no usable spread.
    if mean.is_finite() && sd.is_normal() {
        Ok(Scale::Numeric { mean, sd })
    } else {
        Err(SkipReason::NotFinite)
    }
}

/// The numbers of a column of texts; `None` where they are none, or whole numbers that are codes of a few levels, or
/// most of which differ, as ids do.
pub fn quantities(values: &ColumnValues) -> Option<Vec<f64>> {
    let numbers = values.numbers()?;
    let known: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
    let distinct: BTreeSet<u64> = known.iter().map(|x| x.to_bits()).collect();
    let is_whole = known.iter().all(|x| x.fract() == 0.0);
    let is_code = distinct.len() <= MAX_CODES;
    let is_id = 2 * distinct.len() > known.len();
    (!is_whole || !is_code && !is_id).then_some(numbers)
}

fn fit_levels(values: &ColumnValues) -> std::result::Result<Scale, SkipReason> {
    let known: Vec<String> = (0..values.len())
        .filter_map(|row| values.text(row))
        .collect();
    let n_values = known.len();
    let levels: BTreeSet<String> = known.into_iter().collect();
    match levels.len() {
        0 => Err(SkipReason::NoValue),
        1 => Err(SkipReason::Constant),
        2 => Ok(Scale::Levels(levels.into_iter().collect())),
        n_levels
            if n_levels > MAX_LEVELS || n_levels as f64 > MAX_LEVEL_SHARE * n_values as f64 =>
        {
            Err(SkipReason::TooManyLevels { n_levels, n_values })
        }
        _ => Ok(Scale::Levels(levels.into_iter().collect())),
    }
}

fn round_significant(value: f64) -> f64 {
    format!("{value:.*e}", SIGNIFICANT_DIGITS - 1)
        .parse()
        .unwrap_or(value)
}

impl SkipReason {
    /// Says whether a column that the user named must stop the run for this reason.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            SkipReason::TooManyLevels { .. } | SkipReason::NotFinite
        )
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NoValue => write!(f, "no row has a value"),
            SkipReason::Constant => write!(f, "all values are the same"),
            SkipReason::TooManyLevels { n_levels, n_values } => write!(
                f,
                "{n_levels} different values in {n_values} rows, like an id (at most {MAX_LEVELS}, and {} % of the rows)",
                MAX_LEVEL_SHARE * 100.0
            ),
            SkipReason::NotFinite => write!(
                f,
                "infinite numbers, or numbers that cannot be standardised"
            ),
        }
    }
}
