//! Lagged Granger causality, pooled over subjects: does the past of taxon `j` help to predict taxon
//! `i` beyond the past of `i` itself?
//!
//! ```text
//! restricted  y_i[t] ~ 1 + y_i[t-1] + .. + y_i[t-p]
//! full        y_i[t] ~ 1 + y_i[t-1] + .. + y_i[t-p] + y_j[t-1] + .. + y_j[t-p]
//! F = (gain / p) / (rss_full / (n_rows - n_parameters))                  (Granger 1969)
//! ```
//!
//! Lags count visits, not days, and never cross subjects. For one subject this is the `ssr_ftest`
//! of statsmodels' `grangercausalitytests`. It finds precedence, not cause: a common driver with
//! unequal delays looks the same.

use crate::error::{check_finite, check_length};
use crate::tail::{ln_f_tail, neg_log10};
use crate::{Error, Result};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A vector shorter than this share of its length before regressors were taken out is rounding.
const EXACT: f64 = 1e-7;

/// The constant of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intercept {
    /// One per subject, so that lasting differences between subjects are not taken for dynamics.
    #[default]
    PerSubject,
    /// One for all.
    Common,
}

/// Options of [`granger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrangerOptions {
    /// Number of visits to look back, 1 or more.
    pub n_lags: usize,
    /// The constant of the models.
    pub intercept: Intercept,
}

impl Default for GrangerOptions {
    /// One visit back, an intercept per subject.
    fn default() -> Self {
        GrangerOptions {
            n_lags: 1,
            intercept: Intercept::PerSubject,
        }
    }
}

/// Tests of all ordered pairs: entry `[i, j]` asks whether `j` precedes `i`. All `[n_taxa, n_taxa]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Granger {
    /// F statistic; 0 where not tested, infinite where only the full model fits exactly.
    pub f: Array2<f64>,
    /// Upper tail probability; 1 where not tested.
    pub p: Array2<f64>,
    /// `-log10 p`, accurate where `p` is 0; 0 where not tested.
    pub neg_log10_p: Array2<f64>,
    /// Where there was something to test: not the diagonal, nor a taxon or its past that is
    /// constant or explained exactly.
    pub tested: Array2<bool>,
    /// Rows of the regressions: visits that have `n_lags` earlier ones.
    pub n_rows: usize,
    /// Residual degrees of freedom of a full model of which no lag follows from the others.
    pub df_residual: f64,
}

/// Visits of each subject in time order, and what had to be left out.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectSeries {
    /// `(subject, [n_visits, n_taxa])`, subjects in order of their names.
    pub series: Vec<(String, Array2<f64>)>,
    /// Samples without a subject or a time.
    pub n_left_out: usize,
}

/// Sorts samples into one series per subject.
///
/// - `values`: `[n_samples, n_taxa]`; `subjects`: `None` is missing; `times`: `NaN` is missing
///
/// # Errors
/// Lengths that differ, two samples of a subject at one time.
pub fn series_by_subject(
    values: &Array2<f64>,
    subjects: &[Option<String>],
    times: &[f64],
) -> Result<SubjectSeries> {
    check_length("subjects", subjects.len(), values.nrows())?;
    check_length("times", times.len(), values.nrows())?;
    let mut visits: BTreeMap<&str, Vec<(f64, usize)>> = BTreeMap::new();
    let mut n_left_out = 0;
    for (row, (subject, &time)) in subjects.iter().zip(times).enumerate() {
        match subject {
            Some(subject) if !time.is_nan() => visits.entry(subject).or_default().push((time, row)),
            _ => n_left_out += 1,
        }
    }
    let mut series = Vec::with_capacity(visits.len());
    for (subject, mut visits) in visits {
        visits.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let Some(pair) = visits.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::RepeatedTime {
                subject: subject.to_string(),
                time: pair[0].0,
            });
        }
        let rows: Vec<usize> = visits.iter().map(|(_, row)| *row).collect();
        series.push((subject.to_string(), values.select(Axis(0), &rows)));
    }
    Ok(SubjectSeries { series, n_left_out })
}

/// Tests the past of each taxon as a predictor of each other one.
///
/// - `series`: one `[n_visits, n_taxa]` per subject, in time order; those with no more than
///   `n_lags` visits give no rows
///
/// # Errors
/// No series, numbers of taxa that differ, a value that is not finite, `n_lags` of 0, fewer rows
/// than parameters.
pub fn granger(series: &[Array2<f64>], options: GrangerOptions) -> Result<Granger> {
    let GrangerOptions { n_lags, intercept } = options;
    if n_lags == 0 {
        return Err(Error::BadOption {
            option: "n_lags",
            value: "0".to_string(),
            expected: "1 or more",
        });
    }
    let Some(first) = series.first() else {
        return Err(Error::TooFew {
            what: "subjects",
            found: 0,
            needed: 1,
        });
    };
    let n_taxa = first.ncols();
    for subject in series {
        check_length("taxa of a subject", subject.ncols(), n_taxa)?;
        check_finite("time series", subject)?;
    }
    let used: Vec<&Array2<f64>> = series
        .iter()
        .filter(|subject| subject.nrows() > n_lags)
        .collect();
    let n_rows: usize = used.iter().map(|subject| subject.nrows() - n_lags).sum();
    let n_intercepts = match intercept {
        Intercept::PerSubject => used.len().max(1),
        Intercept::Common => 1,
    };
    let n_parameters = n_intercepts + 2 * n_lags;
    if n_rows <= n_parameters {
        return Err(Error::TooFew {
            what: "visits with enough earlier ones",
            found: n_rows,
            needed: n_parameters + 1,
        });
    }
    let df_residual = (n_rows - n_parameters) as f64;

    // Per taxon: the present (lag 0) and the lagged columns, free of the intercepts.
    let columns: Vec<Vec<Column>> = (0..n_taxa)
        .into_par_iter()
        .map(|taxon| {
            (0..=n_lags)
                .map(|lag| lagged(&used, taxon, lag, options))
                .collect()
        })
        .collect();
    let rows: Vec<Vec<PairTest>> = (0..n_taxa)
        .into_par_iter()
        .map(|i| {
            let mut own_past = Basis::default();
            for column in &columns[i][1..] {
                own_past.push(column);
            }
            let rest = own_past.residual(&columns[i][0].values);
            let restricted = dot(&rest, &rest);
            (0..n_taxa)
                .map(|j| {
                    // A target without variation, or one that its own past explains.
                    if i == j || restricted.sqrt() <= EXACT * columns[i][0].length {
                        return NOT_TESTED;
                    }
                    let n_own = own_past.directions.len();
                    let mut past = own_past.clone();
                    let n_new = columns[j][1..]
                        .iter()
                        .filter(|column| past.push(column))
                        .count();
                    if n_new == 0 {
                        return NOT_TESTED;
                    }
                    let gain: f64 = past.directions[n_own..]
                        .iter()
                        .map(|q| dot(q, &rest).powi(2))
                        .sum();
                    // A lag that follows from the others costs no degree of freedom.
                    let df = (n_rows - n_intercepts - past.directions.len()) as f64;
                    let left = restricted - gain;
                    let f = if left <= EXACT * EXACT * restricted {
                        f64::INFINITY
                    } else {
                        (gain / n_new as f64) / (left / df)
                    };
                    PairTest {
                        f,
                        ln_p: ln_f_tail(f, n_new as f64, df),
                        is_tested: true,
                    }
                })
                .collect()
        })
        .collect();
    let collect = |of: fn(&PairTest) -> f64| {
        Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| of(&rows[i][j]))
    };
    Ok(Granger {
        f: collect(|test| test.f),
        p: collect(|test| test.ln_p.exp()),
        neg_log10_p: collect(|test| neg_log10(test.ln_p)),
        tested: Array2::from_shape_fn((n_taxa, n_taxa), |(i, j)| rows[i][j].is_tested),
        n_rows,
        df_residual,
    })
}

#[derive(Debug, Clone, Copy)]
struct PairTest {
    f: f64,
    ln_p: f64,
    is_tested: bool,
}

const NOT_TESTED: PairTest = PairTest {
    f: 0.0,
    ln_p: 0.0,
    is_tested: false,
};

/// A regressor free of the intercepts.
struct Column {
    values: Vec<f64>,
    /// Euclidean length before the intercepts were taken out, the scale of its rounding.
    length: f64,
}

/// `taxon` at `lag` visits before each row, minus its mean over the subject or over all.
fn lagged(series: &[&Array2<f64>], taxon: usize, lag: usize, options: GrangerOptions) -> Column {
    let mut values = Vec::new();
    let mut blocks = Vec::new();
    for subject in series {
        let column = subject.column(taxon);
        let start = values.len();
        values.extend((options.n_lags..subject.nrows()).map(|t| column[t - lag]));
        blocks.push(start..values.len());
    }
    let length = dot(&values, &values).sqrt();
    if options.intercept == Intercept::Common {
        blocks = std::iter::once(0..values.len()).collect();
    }
    for block in blocks {
        let mean = values[block.clone()].iter().sum::<f64>() / block.len() as f64;
        values[block].iter_mut().for_each(|value| *value -= mean);
    }
    Column { values, length }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Orthonormal directions of the regressors so far.
#[derive(Debug, Clone, Default)]
struct Basis {
    directions: Vec<Vec<f64>>,
}

impl Basis {
    /// Adds the part of a column that is new; false when there is none.
    fn push(&mut self, column: &Column) -> bool {
        let mut rest = self.residual(&column.values);
        let length = dot(&rest, &rest).sqrt();
        if length <= EXACT * column.length {
            return false;
        }
        rest.iter_mut().for_each(|value| *value /= length);
        self.directions.push(rest);
        true
    }

    /// A column without its part along the directions; taken out twice, which leaves only rounding
    /// (Kahan and Parlett's "twice is enough").
    fn residual(&self, column: &[f64]) -> Vec<f64> {
        let mut rest = column.to_vec();
        for _ in 0..2 {
            for direction in &self.directions {
                let along = dot(direction, &rest);
                for (value, part) in rest.iter_mut().zip(direction) {
                    *value -= along * part;
                }
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix};

    fn compare(series: &[Array2<f64>], golden: &serde_json::Value) {
        for n_lags in [1, 2] {
            let options = GrangerOptions {
                n_lags,
                ..GrangerOptions::default()
            };
            let found = granger(series, options).unwrap();
            let golden = &golden[n_lags.to_string()];
            let p = matrix(&golden["p"]);
            for ((i, j), f) in matrix(&golden["f"])
                .indexed_iter()
                .filter(|((i, j), _)| i != j)
            {
                assert_close(
                    found.f[[i, j]],
                    *f,
                    1e-8,
                    &format!("lag {n_lags} F {i} {j}"),
                );
                assert_close(
                    found.p[[i, j]],
                    p[[i, j]],
                    1e-9,
                    &format!("lag {n_lags} p {i} {j}"),
                );
            }
        }
    }

    #[test]
    fn lags_that_follow_from_others_cost_no_degree_of_freedom() {
        // Both lags of a line say the same but for the intercept: 1 and 8 degrees of freedom. F and p by numpy.linalg.lstsq
        // and scipy.stats.f.
        let series = Array2::from_shape_fn((14, 2), |(t, taxon)| match taxon {
            0 => ((t * 7 + 3) % 11) as f64 / 3.0 + 0.1 * t as f64,
            _ => 2.0 + 0.5 * t as f64,
        });
        let options = GrangerOptions {
            n_lags: 2,
            ..GrangerOptions::default()
        };
        let found = granger(&[series], options).unwrap();
        assert_close(found.f[[0, 1]], 3.709_545_888_924_195, 1e-8, "F");
        assert_close(found.p[[0, 1]], 0.090_273_610_953_130_78, 1e-8, "p");
    }

    #[test]
    fn one_subject_agrees_with_statsmodels_and_finds_the_direction() {
        let golden = load("granger");
        let series = [matrix(&golden["one"])];
        compare(&series, &golden["one_expected"]);
        let found = granger(&series, GrangerOptions::default()).unwrap();
        assert!(
            found.p[[1, 0]] < 0.01 && found.p[[0, 1]] > 0.01,
            "taxon 0 drives taxon 1"
        );
        let common = GrangerOptions {
            intercept: Intercept::Common,
            ..GrangerOptions::default()
        };
        assert_eq!(granger(&series, common).unwrap(), found);
    }

    #[test]
    fn subjects_are_pooled_with_their_own_intercepts_and_lags_stay_inside() {
        let golden = load("granger");
        let mut series: Vec<_> = golden["many"]
            .as_array()
            .unwrap()
            .iter()
            .map(matrix)
            .collect();
        compare(&series, &golden["many_expected"]);
        // A subject with one visit gives no row and takes no parameter.
        let before = granger(&series, GrangerOptions::default()).unwrap();
        series.push(series[0].slice(ndarray::s![..1, ..]).to_owned());
        assert_eq!(granger(&series, GrangerOptions::default()).unwrap(), before);
    }

    #[test]
    fn constant_and_repeated_taxa_are_not_tested() {
        let mut one = matrix(&load("granger")["one"]);
        one.column_mut(2).fill(0.1);
        let found = granger(&[one.clone()], GrangerOptions::default()).unwrap();
        assert!(!found.tested[[0, 2]] && !found.tested[[2, 0]] && found.tested[[0, 1]]);
        let copy = one.column(0).to_owned();
        one.column_mut(1).assign(&copy);
        assert!(!granger(&[one], GrangerOptions::default()).unwrap().tested[[0, 1]]);
    }

    #[test]
    fn samples_are_sorted_by_subject_and_time_and_missing_ones_counted() {
        let values = Array2::from_shape_fn((5, 1), |(i, _)| i as f64);
        let subjects = ["b", "a", "b", "", "a"].map(|s| (!s.is_empty()).then(|| s.to_string()));
        let sorted =
            series_by_subject(&values, &subjects, &[2.0, 1.0, 1.0, 1.0, f64::NAN]).unwrap();
        assert_eq!(sorted.n_left_out, 2);
        assert_eq!(sorted.series[0], ("a".to_string(), ndarray::array![[1.0]]));
        assert_eq!(
            sorted.series[1],
            ("b".to_string(), ndarray::array![[2.0], [0.0]])
        );
        let twice = series_by_subject(&values, &subjects, &[2.0, 1.0, 2.0, 1.0, 1.0]);
        assert!(matches!(twice, Err(Error::RepeatedTime { .. })));
    }

    #[test]
    fn series_that_are_too_short_are_refused() {
        assert!(matches!(
            granger(&[], GrangerOptions::default()),
            Err(Error::TooFew { .. })
        ));
        let short = Array2::from_shape_fn((4, 2), |(i, j)| (i * i + j) as f64);
        let result = granger(&[short], GrangerOptions::default());
        assert!(matches!(
            result,
            Err(Error::TooFew {
                found: 3,
                needed: 4,
                ..
            })
        ));
        let none = GrangerOptions {
            n_lags: 0,
            ..GrangerOptions::default()
        };
        assert!(matches!(
            granger(&[Array2::zeros((9, 2))], none),
            Err(Error::BadOption { .. })
        ));
    }
}
