//! Scores of imputed values against the truth, over hidden entries only: pooled, per taxon, per
//! sample; and scores of draws (CRPS, coverage and width of intervals).

mod draws;

pub use draws::{DrawScores, fair_crps, predictive_interval, quantile, score_draws};

use crate::error::check_length;
use crate::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_10;

/// A taxon or sample is scored on its own from this many hidden entries on.
pub const MIN_ENTRIES_PER_GROUP: usize = 5;

/// Agreement of `n` predicted values with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Pearson correlation; `NaN` when the truth or the prediction is constant.
    pub pcc: f64,
    /// Cosine similarity; `NaN` when the truth or the prediction is zero everywhere.
    pub cos: f64,
    /// Root mean squared error, in the unit of the values.
    pub rmse: f64,
    /// Mean absolute error, in the unit of the values.
    pub mae: f64,
    /// Number of entries.
    pub n: usize,
}

/// Mean or median of the scores of groups (taxa, or samples).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Pearson correlation over the `n_pcc` groups that have one; `NaN` when none has.
    pub pcc: f64,
    /// Cosine similarity over the `n_cos` groups that have one; `NaN` when none has.
    pub cos: f64,
    /// Root mean squared error over all `n_groups`.
    pub rmse: f64,
    /// Mean absolute error over all `n_groups`.
    pub mae: f64,
    /// Groups with enough entries.
    pub n_groups: usize,
    /// Groups with a defined Pearson correlation.
    pub n_pcc: usize,
    /// Groups with a defined cosine similarity.
    pub n_cos: usize,
}

/// Scores of each taxon, or of each sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupScores {
    /// One per taxon (or sample) in table order; `None` with fewer than
    /// [`MIN_ENTRIES_PER_GROUP`] hidden entries.
    pub groups: Vec<Option<Scores>>,
    /// Mean over the groups that are scored.
    pub mean: Summary,
    /// Median over the groups that are scored.
    pub median: Summary,
}

/// The three scopes in which every correlation is reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreReport {
    /// Over all hidden entries.
    pub pooled: Scores,
    /// Per taxon.
    pub per_taxon: GroupScores,
    /// Per sample.
    pub per_sample: GroupScores,
}

/// Scores `prediction` against `truth`, entry by entry. With no entries all scores are `NaN`.
///
/// # Errors
/// Lengths that differ, a value that is not finite.
///
/// # Example
/// ```
/// let scores = suffuse_stats::scores::score(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0])?;
/// assert!((scores.mae - 1.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), suffuse_stats::Error>(())
/// ```
pub fn score(truth: &[f64], prediction: &[f64]) -> Result<Scores> {
    check_length("predicted values", prediction.len(), truth.len())?;
    check_all_finite("truth", truth)?;
    check_all_finite("prediction", prediction)?;
    let pairs = || truth.iter().zip(prediction);
    let n = truth.len() as f64;
    let squares: f64 = pairs().map(|(t, p)| (t - p).powi(2)).sum();
    let absolutes: f64 = pairs().map(|(t, p)| (t - p).abs()).sum();
    Ok(Scores {
        pcc: pearson(truth, prediction),
        cos: cosine(truth, prediction),
        rmse: (squares / n).sqrt(),
        mae: absolutes / n,
        n: truth.len(),
    })
}

/// Scores the listed `(sample, taxon)` entries of `prediction` against `truth` in all scopes.
///
/// - `truth`, `prediction`: `[n_samples, n_taxa]`, in one unit; only listed entries are read
///
/// # Errors
/// Shapes that differ, an entry out of range, a listed value that is not finite.
pub fn score_entries(
    truth: &Array2<f64>,
    prediction: &Array2<f64>,
    hidden: &[(usize, usize)],
) -> Result<ScoreReport> {
    let (n_samples, n_taxa) = truth.dim();
    check_length("rows of the prediction", prediction.nrows(), n_samples)?;
    check_length("columns of the prediction", prediction.ncols(), n_taxa)?;
    let mut pooled = Paired::default();
    let mut by_taxon = vec![Paired::default(); n_taxa];
    let mut by_sample = vec![Paired::default(); n_samples];
    for &(sample, taxon) in hidden {
        if sample >= n_samples {
            return Err(Error::Shape {
                what: "sample of a hidden entry",
                found: sample,
                expected: n_samples,
            });
        }
        if taxon >= n_taxa {
            return Err(Error::Shape {
                what: "taxon of a hidden entry",
                found: taxon,
                expected: n_taxa,
            });
        }
        let pair = (truth[[sample, taxon]], prediction[[sample, taxon]]);
        pooled.push(pair);
        by_taxon[taxon].push(pair);
        by_sample[sample].push(pair);
    }
    Ok(ScoreReport {
        pooled: score(&pooled.truth, &pooled.prediction)?,
        per_taxon: GroupScores::new(&by_taxon)?,
        per_sample: GroupScores::new(&by_sample)?,
    })
}

impl Scores {
    /// The same scores with values in log10 instead of ln: errors shrink by `ln 10`, PCC and COS stay.
    ///
    /// Exact when the values are `ln(1 + percent)` and are wanted as `log10(1 + percent)`.
    pub fn in_log10(self) -> Scores {
        Scores {
            rmse: self.rmse / LN_10,
            mae: self.mae / LN_10,
            ..self
        }
    }
}

impl Summary {
    /// As [`Scores::in_log10`].
    pub fn in_log10(self) -> Summary {
        Summary {
            rmse: self.rmse / LN_10,
            mae: self.mae / LN_10,
            ..self
        }
    }

    fn new(groups: &[Option<Scores>], centre: fn(Vec<f64>) -> f64) -> Summary {
        let scored: Vec<&Scores> = groups.iter().flatten().collect();
        let column = |of: fn(&Scores) -> f64| -> Vec<f64> {
            scored
                .iter()
                .map(|scores| of(scores))
                .filter(|value| !value.is_nan())
                .collect()
        };
        let (pcc, cos) = (column(|s| s.pcc), column(|s| s.cos));
        Summary {
            n_groups: scored.len(),
            n_pcc: pcc.len(),
            n_cos: cos.len(),
            pcc: centre(pcc),
            cos: centre(cos),
            rmse: centre(column(|s| s.rmse)),
            mae: centre(column(|s| s.mae)),
        }
    }
}

impl GroupScores {
    /// As [`Scores::in_log10`].
    pub fn in_log10(&self) -> GroupScores {
        GroupScores {
            groups: self
                .groups
                .iter()
                .map(|group| group.map(Scores::in_log10))
                .collect(),
            mean: self.mean.in_log10(),
            median: self.median.in_log10(),
        }
    }

    fn new(paired: &[Paired]) -> Result<GroupScores> {
        let groups = paired
            .iter()
            .map(|group| {
                let enough = group.truth.len() >= MIN_ENTRIES_PER_GROUP;
                enough
                    .then(|| score(&group.truth, &group.prediction))
                    .transpose()
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(GroupScores {
            mean: Summary::new(&groups, mean),
            median: Summary::new(&groups, median),
            groups,
        })
    }
}

impl ScoreReport {
    /// As [`Scores::in_log10`].
    pub fn in_log10(&self) -> ScoreReport {
        ScoreReport {
            pooled: self.pooled.in_log10(),
            per_taxon: self.per_taxon.in_log10(),
            per_sample: self.per_sample.in_log10(),
        }
    }
}

/// Truth and prediction of the entries of one group.
#[derive(Debug, Clone, Default)]
struct Paired {
    truth: Vec<f64>,
    prediction: Vec<f64>,
}

impl Paired {
    fn push(&mut self, (truth, prediction): (f64, f64)) {
        self.truth.push(truth);
        self.prediction.push(prediction);
    }
}

/// Pearson correlation of two vectors of one length; `NaN` when either is constant or empty.
pub(crate) fn pearson(a: &[f64], b: &[f64]) -> f64 {
    // Compared with the first value, because the rounded mean of equal values can differ from them.
    let is_constant = |v: &[f64]| v.iter().all(|value| *value == v[0]);
    if is_constant(a) || is_constant(b) {
        return f64::NAN;
    }
    let (mean_a, mean_b) = (mean(a.to_vec()), mean(b.to_vec()));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    (ab / aa.sqrt() / bb.sqrt()).clamp(-1.0, 1.0)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(x, y)| x * y).sum::<f64>();
    let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
    if norms == 0.0 {
        f64::NAN
    } else {
        (dot(a, b) / norms).clamp(-1.0, 1.0)
    }
}

/// `NaN` for an empty list.
fn mean(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `NaN` for an empty list.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        f64::NAN
    } else {
        draws::quantile(&values, 0.5)
    }
}

fn check_all_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::BadEntry {
            what,
            row,
            column: 0,
            value: values[row],
            expected: "a finite number",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, load, matrix, number};

    fn assert_scores(found: &Scores, golden: &serde_json::Value, what: &str) {
        for (value, key) in [
            (found.pcc, "pcc"),
            (found.cos, "cos"),
            (found.rmse, "rmse"),
            (found.mae, "mae"),
        ] {
            assert_close(value, number(&golden[key]), 1e-12, &format!("{what} {key}"));
        }
    }

    #[test]
    fn scores_in_every_scope_agree_with_scipy_and_scikit_learn() {
        let golden = load("scores");
        let (truth, prediction) = (matrix(&golden["truth"]), matrix(&golden["prediction"]));
        let hidden: Vec<(usize, usize)> = serde_json::from_value(golden["hidden"].clone()).unwrap();
        let report = score_entries(&truth, &prediction, &hidden).unwrap();
        assert_scores(&report.pooled, &golden["pooled"], "pooled");
        assert_scores(
            &report.pooled.in_log10(),
            &golden["pooled_log10"],
            "pooled log10",
        );
        for (scope, key) in [
            (&report.per_taxon, "per_taxon"),
            (&report.per_sample, "per_sample"),
        ] {
            let golden = &golden[key];
            for (index, group) in scope.groups.iter().enumerate() {
                let expected = &golden["groups"][index];
                assert_eq!(group.is_none(), expected.is_null(), "{key} {index}");
                if let Some(group) = group {
                    assert_scores(group, expected, &format!("{key} {index}"));
                }
            }
            for (summary, name) in [(&scope.mean, "mean"), (&scope.median, "median")] {
                assert_close(
                    summary.pcc,
                    number(&golden[name]["pcc"]),
                    1e-12,
                    &format!("{key} {name} pcc"),
                );
                assert_close(
                    summary.rmse,
                    number(&golden[name]["rmse"]),
                    1e-12,
                    &format!("{key} {name} rmse"),
                );
                assert_eq!(
                    summary.n_groups,
                    golden["n_groups"].as_u64().unwrap() as usize
                );
                assert_eq!(summary.n_pcc, golden["n_pcc"].as_u64().unwrap() as usize);
            }
        }
    }

    #[test]
    fn a_constant_vector_has_no_correlation_and_leaves_the_mean() {
        assert!(
            score(&[1.0, 2.0, 3.0], &[0.1, 0.1, 0.1])
                .unwrap()
                .pcc
                .is_nan()
        );
        assert!(score(&[1.0, 2.0], &[0.0, 0.0]).unwrap().cos.is_nan());
        let truth = Array2::from_shape_fn((6, 2), |(i, _)| i as f64);
        let prediction =
            Array2::from_shape_fn((6, 2), |(i, j)| if j == 0 { 0.1 } else { i as f64 });
        let hidden: Vec<_> = (0..6).flat_map(|i| [(i, 0), (i, 1)]).collect();
        let report = score_entries(&truth, &prediction, &hidden).unwrap();
        assert_eq!(
            (report.per_taxon.mean.n_groups, report.per_taxon.mean.n_pcc),
            (2, 1)
        );
        assert_eq!(report.per_taxon.mean.pcc, 1.0);
        assert_eq!(report.per_sample.mean.n_groups, 0);
        assert!(report.per_sample.mean.pcc.is_nan());
    }

    #[test]
    fn values_that_are_not_finite_and_lengths_that_differ_are_refused() {
        assert!(matches!(
            score(&[1.0], &[f64::NAN]),
            Err(Error::BadEntry {
                what: "prediction",
                ..
            })
        ));
        assert!(matches!(
            score(&[1.0], &[]),
            Err(Error::Shape {
                found: 0,
                expected: 1,
                ..
            })
        ));
        assert!(score(&[], &[]).unwrap().rmse.is_nan());
    }
}
