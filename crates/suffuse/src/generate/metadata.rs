//! Metadata of the samples to draw: those of random samples of the cohort, with what the user fixes.

use super::Cohort;
use crate::{Error, Result};
use rand::RngExt;
use suffuse_data::seeded::seeded;
use suffuse_data::{Column, ColumnValues, Metadata};
use suffuse_model::cond::column_scale::quantities;

/// A value that all samples are to have in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Name of the column.
    pub column: String,
    /// The value as text.
    pub value: String,
}

/// A walk from one value of a column to another: the first sample has the first value, the last the last, and those
/// between lie between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpolation {
    /// Name of the column.
    pub column: String,
    /// Value of the first sample.
    pub from: String,
    /// Value of the last sample.
    pub to: String,
}

/// Name of the column that says how far a sample is on its way, 0 to 1.
pub const ON_THE_WAY: &str = "interpolation";

impl Interpolation {
    /// How far sample `row` of `n` is on its way, 0 to 1.
    pub fn part(row: usize, n: usize) -> f64 {
        row as f64 / (n.max(2) - 1) as f64
    }

    /// The metadata of samples, which have the value `from`, with the value `to` instead.
    ///
    /// # Errors
    /// A value that no sample of the cohort has, or that is no number where the column holds numbers.
    pub fn arrived(&self, cohort: &Cohort, metadata: &Metadata) -> Result<Metadata> {
        let mut arrived = metadata.clone();
        let column = column_of(cohort, &self.column)?;
        let values = constant(column, &self.to, metadata.ids().len(), "--interpolate")?;
        arrived.set_column(Column {
            name: self.column.clone(),
            values,
        })?;
        Ok(arrived)
    }

    /// The columns to write: numbers between numbers, `from..to` for a category, and how far each sample is.
    ///
    /// # Errors
    /// A column that the cohort does not have.
    pub fn columns(&self, cohort: &Cohort, n: usize) -> Result<[Column; 2]> {
        let of_cohort = column_of(cohort, &self.column)?;
        let parts: Vec<f64> = (0..n).map(|row| Interpolation::part(row, n)).collect();
        let ends = (self.from.parse::<f64>(), self.to.parse::<f64>());
        let values = match (numbers_of(&of_cohort.values), ends) {
            (Some(_), (Ok(from), Ok(to))) => {
                ColumnValues::Numeric(parts.iter().map(|t| from + t * (to - from)).collect())
            }
            _ => ColumnValues::Text(vec![Some(format!("{}..{}", self.from, self.to)); n]),
        };
        let column = |name: &str, values| Column {
            name: name.to_string(),
            values,
        };
        Ok([
            column(&self.column, values),
            column(ON_THE_WAY, ColumnValues::Numeric(parts)),
        ])
    }
}

fn column_of<'a>(cohort: &'a Cohort, name: &str) -> Result<&'a Column> {
    let metadata = &cohort.table.sample_metadata;
    metadata.column(name).ok_or_else(|| {
        Error::Usage(format!(
            "no metadata column {name:?}; {}",
            metadata.columns_in_words()
        ))
    })
}

/// Columns of samples to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    /// The columns.
    pub columns: Vec<Column>,
    /// Fewest samples of the cohort that those of a group are taken from.
    pub n_sources: usize,
    /// Columns whose value no sample has that could serve, so that others were taken.
    pub unmet: Vec<String>,
}

/// Samples whose numbers are closest to a number that is fixed and that the other columns are taken from.
const N_CLOSEST: usize = 30;

/// What the samples that columns are taken from should have.
enum Near {
    /// One of these texts.
    Texts(Vec<String>),
    /// A number from one to the other, or close to that.
    Numbers(f64, f64),
}

impl Near {
    /// The value `from`, or anything on the way from there `to` another.
    fn new(column: &Column, from: &str, to: &str) -> Near {
        let number = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite());
        match (numbers_of(&column.values), number(from), number(to)) {
            (Some(_), Some(from), Some(to)) => Near::Numbers(from.min(to), from.max(to)),
            _ => Near::Texts(vec![from.to_string(), to.to_string()]),
        }
    }

    /// Those of some rows that have it: all with such a text, or the closest ones; `None` where none has.
    fn of(&self, column: &Column, rows: &[usize]) -> Option<Vec<usize>> {
        let near: Vec<usize> = match self {
            Near::Texts(texts) => {
                let has = |row: &&usize| {
                    let text = column.values.text(**row);
                    text.is_some_and(|text| texts.contains(&text))
                };
                rows.iter().filter(has).copied().collect()
            }
            Near::Numbers(low, high) => {
                let numbers = numbers_of(&column.values).unwrap_or_default();
                let distance =
                    |row: &usize| (low - numbers[*row]).max(numbers[*row] - high).max(0.0);
                let is_known = |row: &&usize| !numbers[**row].is_nan();
                let mut known: Vec<usize> = rows.iter().filter(is_known).copied().collect();
                known.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
                let furthest = known.get(N_CLOSEST - 1).map_or(f64::INFINITY, distance);
                known.retain(|row| distance(row) <= furthest);
                known.sort_unstable();
                known
            }
        };
        (!near.is_empty()).then_some(near)
    }
}

/// These columns of random samples of the cohort, each sample's from one of its group, with the fixed values in
/// their place. Samples that have the fixed values, or numbers close to them, are preferred, so that the other columns
/// go with them; of a walk all that have one of its ends, or a number on its way.
///
/// - `sizes`: samples to draw of each group; one group without a column of groups
/// - `walk`: all samples have its first value
/// - `given`: the sample of the cohort of each, in place of a random one
///
/// # Errors
/// A column that the cohort does not have, a value that is no number where the column holds numbers, or one that
/// no sample has where it holds categories.
pub fn resampled(
    cohort: &Cohort,
    sizes: &[usize],
    columns: &[String],
    fixed: &[Fixed],
    walk: Option<&Interpolation>,
    given: Option<&[usize]>,
    seed: u64,
) -> Result<Resampled> {
    let all: Vec<usize> = (0..cohort.table.n_samples()).collect();
    for Fixed { column: name, .. } in fixed {
        if !columns.contains(name) {
            return Err(Error::Usage(format!(
                "--where {name}: samples are not conditioned on it; add it to --conditions"
            )));
        }
    }
    let mut wanted = Vec::new();
    for Fixed { column, value } in fixed {
        let column = column_of(cohort, column)?;
        wanted.push((column, Near::new(column, value, value)));
    }
    if let Some(Interpolation { column, from, to }) = walk {
        let column = column_of(cohort, column)?;
        wanted.push((column, Near::new(column, from, to)));
    }
    let mut n_sources = all.len();
    let mut unmet: Vec<String> = Vec::new();
    let mut rng = seeded(seed, "generate/metadata");
    let mut rows = Vec::new();
    for (group, size) in sizes.iter().enumerate() {
        let of_group = cohort
            .groups
            .as_ref()
            .map_or(&all, |groups| &groups.rows[group]);
        let mut candidates = of_group.clone();
        for (column, near) in &wanted {
            match near.of(column, &candidates) {
                Some(near) => candidates = near,
                None if *size > 0 && !unmet.contains(&column.name) => {
                    unmet.push(column.name.clone());
                }
                None => {}
            }
        }
        if *size > 0 {
            n_sources = n_sources.min(candidates.len());
        }
        rows.extend((0..*size).map(|_| Some(candidates[rng.random_range(0..candidates.len())])));
    }
    if let Some(given) = given {
        rows = given.iter().copied().map(Some).collect();
        n_sources = all.len();
        unmet.clear();
    }
    let of = |name: &String| {
        let found = column_of(cohort, name)?;
        let own = fixed.iter().find(|fixed| fixed.column == *name);
        let start = walk.filter(|walk| walk.column == *name);
        let values = match (own, start) {
            (Some(fixed), _) => constant(found, &fixed.value, rows.len(), "--where")?,
            (None, Some(walk)) => constant(found, &walk.from, rows.len(), "--interpolate")?,
            (None, None) => found.values.take(&rows),
        };
        let name = name.clone();
        Ok(Column { name, values })
    };
    let columns = columns.iter().map(of).collect::<Result<_>>()?;
    Ok(Resampled {
        columns,
        n_sources,
        unmet,
    })
}

/// The numbers of a column that a condition takes for numbers.
fn numbers_of(values: &ColumnValues) -> Option<Vec<f64>> {
    match values {
        ColumnValues::Numeric(numbers) => Some(numbers.clone()),
        texts => quantities(texts),
    }
}

/// What to tell of a number for a column that lies outside of those of the samples of the table.
pub fn beyond(cohort: &Cohort, name: &str, value: &str) -> Option<String> {
    let column = cohort.table.sample_metadata.column(name)?;
    let numbers = numbers_of(&column.values)?;
    let number: f64 = value.parse().ok()?;
    let known = || numbers.iter().copied().filter(|x| !x.is_nan());
    let (least, most) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    let is_inside = (least..=most).contains(&number);
    (!is_inside && least <= most).then(|| {
        format!(
            "{name}={value} lies outside of the samples of the table ({least} to {most}): what is generated there is a guess"
        )
    })
}

/// Values that are listed of a column.
const MANY_VALUES: usize = 12;

/// The different values of a column, in words.
fn values_of(column: &Column) -> String {
    let texts = (0..column.values.len()).filter_map(|row| column.values.text(row));
    let distinct: std::collections::BTreeSet<String> = texts.collect();
    let more = distinct.len().saturating_sub(MANY_VALUES);
    let first = distinct.iter().take(MANY_VALUES);
    let mut words: Vec<String> = first.map(|value| format!("{value:?}")).collect();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    match words.is_empty() {
        true => "none at all".to_string(),
        false => words.join(", "),
    }
}

/// A column of one value, of the kind of another.
fn constant(like: &Column, value: &str, n: usize, option: &str) -> Result<ColumnValues> {
    let row = (0..like.values.len()).find(|row| like.values.text(*row).as_deref() == Some(value));
    let holds_numbers = numbers_of(&like.values).is_some();
    let is_text = !matches!(like.values, ColumnValues::Numeric(_));
    if holds_numbers && !(is_text && row.is_some()) {
        let number = value.parse::<f64>().ok().filter(|x| x.is_finite());
        return match number {
            Some(number) => Ok(ColumnValues::Numeric(vec![number; n])),
            None => Err(Error::Usage(format!(
                "{option} {}={value}: the column holds numbers; give one",
                like.name
            ))),
        };
    }
    match row {
        Some(row) => Ok(like.values.take(&vec![Some(row); n])),
        None => Err(Error::Usage(format!(
            "{option} {}={value}: no sample to learn from has this value; they have {}",
            like.name,
            values_of(like)
        ))),
    }
}
