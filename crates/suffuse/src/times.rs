//! Who was sampled when: two metadata columns as subjects and times.

use crate::model_folder::Beside;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use suffuse_data::hide::Occasions;
use suffuse_data::metadata_tsv::is_missing;
use suffuse_data::{ColumnValues, Metadata, split};

/// Names of the columns; stored with a model that was fitted with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeColumns {
    /// Whose sample it is.
    pub subject: String,
    /// Numbers in any unit, or dates `YYYY-MM-DD`.
    pub time: String,
}

/// Name of the file in a model's folder.
const FILE: Beside = Beside {
    file: "times.json",
    holds: "the columns of subject and time",
};

impl TimeColumns {
    /// Says whether the metadata have both columns.
    pub fn are_in(&self, metadata: &Metadata) -> bool {
        metadata.column(&self.subject).is_some() && metadata.column(&self.time).is_some()
    }

    /// Subject and time of each sample. A missing subject is one of its own, a missing time is `NaN`:
    /// such a sample has no neighbours. Dates count in days.
    ///
    /// # Errors
    /// No such column; a time that is neither a number up to 1e15 nor a date; numbers beside dates; no subject
    /// with two samples of known time.
    pub fn read(&self, metadata: &Metadata) -> Result<Occasions> {
        self.read_any(metadata)?.ok_or_else(|| {
            Error::Table(format!(
                "--subject: no subject in column {:?} has two samples of known time, so no sample tells of another; check the two columns, or leave --subject and --time out",
                self.subject
            ))
        })
    }

    /// The same, but `None` where no subject has two samples of known time.
    ///
    /// # Errors
    /// The others of [`TimeColumns::read`].
    pub fn read_any(&self, metadata: &Metadata) -> Result<Option<Occasions>> {
        let column = |option: &str, name: &str| {
            metadata.column(name).ok_or_else(|| {
                Error::Usage(format!(
                    "{option}: no metadata column {name:?}; {}",
                    metadata.columns_in_words()
                ))
            })
        };
        column("--subject", &self.subject)?;
        let values = &column("--time", &self.time)?.values;
        let subject = split::groups(metadata, &self.subject)?;
        let time = times(values).map_err(|(row, problem)| {
            Error::Table(format!(
                "--time: column {:?} of sample {:?} {problem}",
                self.time,
                metadata.ids()[row]
            ))
        })?;
        let mut known: Vec<usize> = (0..subject.len())
            .filter(|sample| !time[*sample].is_nan())
            .map(|sample| subject[sample])
            .collect();
        known.sort_unstable();
        let is_any_known = known.windows(2).any(|pair| pair[0] == pair[1]);
        Ok(is_any_known.then_some(Occasions { subject, time }))
    }

    /// Stores the names in the folder of their model.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save(&self, model_folder: &Path) -> Result<()> {
        FILE.save(model_folder, self)
    }

    /// Removes the names of an earlier model from a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn forget(model_folder: &Path) -> Result<()> {
        FILE.forget(model_folder)
    }

    /// The names in the folder of a model; `None` where it was fitted without.
    ///
    /// # Errors
    /// A file that holds something else.
    pub fn load(model_folder: &Path) -> Result<Option<TimeColumns>> {
        FILE.load(model_folder)
    }
}

impl fmt::Display for TimeColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subject {:?}, time {:?}", self.subject, self.time)
    }
}

/// A time as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Written {
    Number(f64),
    /// Days since 1970-01-01.
    Date(f64),
}

/// Times per row, `NaN` where missing; or the row and what is wrong with it.
fn times(values: &ColumnValues) -> std::result::Result<Vec<f64>, (usize, String)> {
    let mut times = Vec::with_capacity(values.len());
    let mut first: Option<Written> = None;
    for row in 0..values.len() {
        let Some(text) = values.text(row).filter(|text| !is_missing(text)) else {
            times.push(f64::NAN);
            continue;
        };
        let written = written(text.trim()).ok_or_else(|| {
            let problem = format!(
                "is {text:?}; expected a number from -{MOST:e} to {MOST:e} or a date YYYY-MM-DD, or an empty cell"
            );
            (row, problem)
        })?;
        match (first, written) {
            (Some(Written::Number(_)), Written::Date(_))
            | (Some(Written::Date(_)), Written::Number(_)) => {
                let problem =
                    "beside cells of the other kind; expected numbers alone or dates alone";
                return Err((row, format!("is {text:?} {problem}")));
            }
            _ => first = first.or(Some(written)),
        }
        let (Written::Number(time) | Written::Date(time)) = written;
        times.push(time);
    }
    Ok(times)
}

/// Largest time, so that days still differ in it and differences are finite.
const MOST: f64 = 1e15;

fn written(text: &str) -> Option<Written> {
    match text.parse::<f64>() {
        Ok(number) => (number.abs() <= MOST).then_some(Written::Number(number)),
        Err(_) => date(text).map(Written::Date),
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March, so that the day that comes
/// and goes is their last.
fn date(text: &str) -> Option<f64> {
    let is_shaped = text.len() == 10 && text.is_ascii();
    let mut parts = text.split('-').filter(|_| is_shaped);
    let mut part = |length: usize| {
        let part = parts.next()?;
        let is_digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        is_digits.then(|| part.parse::<i64>().ok())?
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let n_days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=n_days).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some((days + (153 * month + 2) / 5 + day - 1 - 719_468) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use suffuse_data::Column;

    fn read(subject: &[&str], time: &[&str]) -> Result<Occasions> {
        let text = |name: &str, cells: &[&str]| Column {
            name: name.into(),
            values: ColumnValues::Text(
                cells
                    .iter()
                    .map(|cell| (!cell.is_empty()).then(|| (*cell).to_string()))
                    .collect(),
            ),
        };
        let ids = (0..subject.len()).map(|i| format!("s{i}")).collect();
        let columns = vec![text("host", subject), text("day", time)];
        let columns_of_time = TimeColumns {
            subject: "host".into(),
            time: "day".into(),
        };
        columns_of_time.read(&Metadata::new(ids, columns).unwrap())
    }

    #[test]
    fn dates_count_in_days() {
        // Python: (date(...) - date(1970, 1, 1)).days
        for (text, days) in [
            ("1970-01-01", 0.0),
            ("1969-12-31", -1.0),
            ("2000-02-29", 11016.0),
            ("2024-03-01", 19783.0),
            ("1900-03-01", -25508.0),
            ("0001-01-01", -719_162.0),
        ] {
            assert_eq!(date(text), Some(days), "{text}");
        }
        for no_date in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-1-01",
            "24-01-01xx",
            "2024-01-+1",
        ] {
            assert_eq!(date(no_date), None, "{no_date}");
        }
    }

    #[test]
    fn a_missing_time_is_not_known_and_a_missing_subject_is_one_of_its_own() {
        let found = read(&["a", "a", "", ""], &["2", "NA", "0.5", "-1"]).unwrap_err();
        assert!(found.to_string().contains("no subject"), "{found}");
        let found = read(&["a", "a", "", "a"], &["2", "NA", "0.5", "-1"]).unwrap();
        assert_eq!(found.subject, [0, 0, 1, 0]);
        assert_eq!(found.time[0], 2.0);
        assert!(found.time[1].is_nan());
        let dates = read(&["a", "a"], &["2020-01-02", "2020-01-01"]).unwrap();
        assert_eq!(dates.time[0] - dates.time[1], 1.0);
    }

    #[test]
    fn what_is_no_time_is_an_error_that_names_the_cell_and_the_way_out() {
        for (times, expected) in [
            (
                ["2", "spring"],
                "expected a number from -1e15 to 1e15 or a date YYYY-MM-DD",
            ),
            (["2", "-1e308"], "is \"-1e308\"; expected a number from"),
            (["2", "2020-01-01"], "numbers alone or dates alone"),
            (["2", "inf"], "expected a number"),
        ] {
            let problem = read(&["a", "a"], &times).unwrap_err().to_string();
            assert!(
                problem.contains("\"s1\"") && problem.contains(expected),
                "{problem}"
            );
        }
        let other = TimeColumns {
            subject: "patient".into(),
            time: "day".into(),
        };
        let nothing = Metadata::empty(vec!["s0".into()]);
        let problem = other.read(&nothing).unwrap_err();
        assert_eq!(problem.exit_code(), 2);
        assert!(
            problem
                .to_string()
                .contains("--subject: no metadata column \"patient\"")
        );
    }

    #[test]
    fn the_columns_come_back_from_the_folder_of_their_model() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(TimeColumns::load(folder.path()).unwrap(), None);
        let columns = TimeColumns {
            subject: "host".into(),
            time: "day".into(),
        };
        columns.save(folder.path()).unwrap();
        assert_eq!(TimeColumns::load(folder.path()).unwrap(), Some(columns));
        TimeColumns::forget(folder.path()).unwrap();
        assert_eq!(TimeColumns::load(folder.path()).unwrap(), None);
    }
}
