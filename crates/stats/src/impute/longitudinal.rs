//! Baselines for missing time points: what the other samples of the subject say.
//!
//! ```text
//! subjects, times, values (NaN where missing) -> per missing value, those of the subject before and after
//! ```
//!
//! Values are `ln(1 + percent)`, so an interpolated value is that of a line in `ln(1 + percent)`. Unlike the
//! other baselines these estimate the value as it is, absence included: a zero counts as a zero.

use crate::error::check_length;
use crate::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a missing value follows from the others of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongitudinalMethod {
    /// The last value before; before the first one, the nearest later value.
    LastValue,
    /// On the line between the last value before and the first after; the nearest value at the ends.
    Linear,
    /// The mean of the subject.
    SubjectMean,
}

impl LongitudinalMethod {
    /// All of them.
    pub const ALL: [LongitudinalMethod; 3] = [
        LongitudinalMethod::LastValue,
        LongitudinalMethod::Linear,
        LongitudinalMethod::SubjectMean,
    ];

    /// Name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            LongitudinalMethod::LastValue => "last-value",
            LongitudinalMethod::Linear => "linear-interpolation",
            LongitudinalMethod::SubjectMean => "subject-mean",
        }
    }
}

impl fmt::Display for LongitudinalMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who was sampled when.
#[derive(Debug, Clone, Copy)]
pub struct Visits<'a> {
    /// Per sample.
    pub subject: &'a [usize],
    /// Per sample, in any unit; `NaN` is not known.
    pub time: &'a [f64],
}

/// Fills the missing values of a table from other samples of the subject.
///
/// Values of one subject at one time count as their mean. A missing value whose time is not known, or whose
/// subject has no value of the taxon at a known time, gets the mean of the taxon (0 if it was never
/// measured); the mean of a subject needs no times.
///
/// - `values`: `[n_samples, n_taxa]`, `NaN` where missing, 0 where absent
/// - returns the same without `NaN`; what is not missing is copied
///
/// # Errors
/// Another number of subjects or times than of samples, or an infinite value or time.
///
/// # Example
/// ```
/// use ndarray::array;
/// use suffuse_stats::impute::{LongitudinalMethod, Visits, fill_in_time};
///
/// let values = array![[1.0], [f64::NAN], [4.0]];
/// let visits = Visits { subject: &[0, 0, 0], time: &[0.0, 1.0, 3.0] };
/// let filled = fill_in_time(LongitudinalMethod::Linear, &values, visits)?;
/// assert_eq!(filled[[1, 0]], 2.0);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn fill_in_time(
    method: LongitudinalMethod,
    values: &Array2<f64>,
    visits: Visits,
) -> Result<Array2<f64>> {
    let (n_samples, n_taxa) = values.dim();
    check_length("subjects of samples", visits.subject.len(), n_samples)?;
    check_length("times of samples", visits.time.len(), n_samples)?;
    if let Some(row) = visits.time.iter().position(|time| time.is_infinite()) {
        return Err(bad("time", row, 0, visits.time[row]));
    }
    if let Some(((row, column), value)) = values.indexed_iter().find(|(_, v)| v.is_infinite()) {
        return Err(bad("value", row, column, *value));
    }
    let mut by_subject: Vec<Vec<usize>> = Vec::new();
    for (sample, subject) in visits.subject.iter().enumerate() {
        if by_subject.len() <= *subject {
            by_subject.resize(subject + 1, Vec::new());
        }
        by_subject[*subject].push(sample);
    }
    let mut filled = values.clone();
    for taxon in 0..n_taxa {
        let column = values.column(taxon);
        let known = |samples: &mut dyn Iterator<Item = usize>| -> Vec<f64> {
            samples
                .map(|sample| column[sample])
                .filter(|value| !value.is_nan())
                .collect()
        };
        let of_taxon = mean(&known(&mut (0..n_samples))).unwrap_or(0.0);
        for samples in &by_subject {
            let of_subject = mean(&known(&mut samples.iter().copied()));
            let points = points(samples, visits.time, |sample| column[sample]);
            for &sample in samples.iter().filter(|sample| column[**sample].is_nan()) {
                let found = match method {
                    LongitudinalMethod::SubjectMean => of_subject,
                    LongitudinalMethod::LastValue => last_value(&points, visits.time[sample]),
                    LongitudinalMethod::Linear => linear(&points, visits.time[sample]),
                };
                filled[[sample, taxon]] = found.unwrap_or(of_taxon);
            }
        }
    }
    Ok(filled)
}

fn bad(what: &'static str, row: usize, column: usize, value: f64) -> Error {
    Error::BadEntry {
        what,
        row,
        column,
        value,
        expected: "a finite number, or NaN where it is missing",
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Times and values of a subject, times rising, one value a time.
fn points(samples: &[usize], time: &[f64], value: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
    let is_known = |sample: &&usize| !time[**sample].is_nan() && !value(**sample).is_nan();
    let mut known: Vec<usize> = samples.iter().filter(is_known).copied().collect();
    known.sort_by(|a, b| time[*a].total_cmp(&time[*b]));
    let of_one_time = |samples: &[usize]| {
        let values: Vec<f64> = samples.iter().map(|sample| value(*sample)).collect();
        let mean = mean(&values).expect("a chunk is never empty");
        (time[samples[0]], mean)
    };
    known
        .chunk_by(|a, b| time[*a] == time[*b])
        .map(of_one_time)
        .collect()
}

/// The last point at or before a time, and the first after.
fn around(points: &[(f64, f64)], time: f64) -> [Option<(f64, f64)>; 2] {
    let after = points.partition_point(|(t, _)| *t <= time);
    [
        after.checked_sub(1).map(|before| points[before]),
        points.get(after).copied(),
    ]
}

fn last_value(points: &[(f64, f64)], time: f64) -> Option<f64> {
    if time.is_nan() {
        return None;
    }
    let [before, after] = around(points, time);
    before.or(after).map(|(_, value)| value)
}

fn linear(points: &[(f64, f64)], time: f64) -> Option<f64> {
    if time.is_nan() {
        return None;
    }
    match around(points, time) {
        [Some((t0, y0)), Some((t1, y1))] => {
            let share = (time - t0) / (t1 - t0);
            Some((1.0 - share) * y0 + share * y1)
        }
        [before, after] => before.or(after).map(|(_, value)| value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const NAN: f64 = f64::NAN;

    fn filled(method: LongitudinalMethod, values: &Array2<f64>) -> Vec<f64> {
        let visits = Visits {
            subject: &[0, 0, 1, 0, 0, 1, 0],
            time: &[4.0, 0.0, 1.0, 10.0, 1.0, NAN, -3.0],
        };
        let filled = fill_in_time(method, values, visits).unwrap();
        filled.column(0).to_vec()
    }

    /// Subject 0 in order of time: missing at -3, 2 at 0, missing at 1, 6 at 4, missing at 10.
    fn values() -> Array2<f64> {
        array![[6.0], [2.0], [5.0], [NAN], [NAN], [NAN], [NAN]]
    }

    #[test]
    fn the_last_value_is_carried_forward_and_the_first_backward() {
        let found = filled(LongitudinalMethod::LastValue, &values());
        // Subject 1 has no time at its missing value: the mean of 6, 2 and 5.
        assert_eq!(found, [6.0, 2.0, 5.0, 6.0, 2.0, 13.0 / 3.0, 2.0]);
    }

    #[test]
    fn a_line_is_hit_exactly_between_two_values_and_is_level_beyond() {
        let found = filled(LongitudinalMethod::Linear, &values());
        assert_eq!(found, [6.0, 2.0, 5.0, 6.0, 3.0, 13.0 / 3.0, 2.0]);
    }

    #[test]
    fn the_mean_of_the_subject_needs_no_times_and_counts_zeros() {
        let mut values = values();
        values[[0, 0]] = 0.0;
        let found = filled(LongitudinalMethod::SubjectMean, &values);
        assert_eq!(found, [0.0, 2.0, 5.0, 1.0, 1.0, 5.0, 1.0]);
    }

    #[test]
    fn replicates_of_one_time_count_as_their_mean() {
        let values = array![[1.0], [3.0], [NAN], [8.0]];
        let visits = Visits {
            subject: &[0; 4],
            time: &[0.0, 0.0, 1.0, 2.0],
        };
        let fill = |method| fill_in_time(method, &values, visits).unwrap()[[2, 0]];
        assert_eq!(fill(LongitudinalMethod::LastValue), 2.0);
        assert_eq!(fill(LongitudinalMethod::Linear), 5.0);
        assert_eq!(fill(LongitudinalMethod::SubjectMean), 4.0);
        // A missing replicate is that of its time.
        let values = array![[1.0], [NAN], [7.0], [8.0]];
        let filled = fill_in_time(LongitudinalMethod::Linear, &values, visits).unwrap();
        assert_eq!(filled[[1, 0]], 1.0);
    }

    #[test]
    fn a_taxon_that_was_never_measured_is_zero_and_nothing_is_left_missing() {
        let values = array![[NAN, 1.0], [NAN, NAN]];
        let visits = Visits {
            subject: &[0, 1],
            time: &[0.0, 1.0],
        };
        for method in LongitudinalMethod::ALL {
            let filled = fill_in_time(method, &values, visits).unwrap();
            assert_eq!(filled, array![[0.0, 1.0], [0.0, 1.0]], "{method}");
        }
    }

    #[test]
    fn lengths_that_differ_and_infinite_numbers_are_refused() {
        let values = array![[1.0], [2.0]];
        let fill = |subject: &[usize], time: &[f64], values: &Array2<f64>| {
            fill_in_time(LongitudinalMethod::Linear, values, Visits { subject, time })
        };
        assert!(fill(&[0], &[0.0, 1.0], &values).is_err());
        assert!(fill(&[0, 0], &[0.0], &values).is_err());
        assert!(fill(&[0, 0], &[0.0, f64::INFINITY], &values).is_err());
        assert!(fill(&[0, 0], &[0.0, 1.0], &array![[1.0], [f64::INFINITY]]).is_err());
    }
}
