//! The scores of one method on one table under one setting and seed, and their file.
//!
//! A file is named by a hash of all that determines its content, so that a long grid of
//! evaluations skips what is finished and never takes one result for another.

use super::judged::{DepthFigures, JudgedSums};
use crate::output::write_text;
use crate::provenance::digest_text;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use suffuse_data::format::Overwrite;
use suffuse_stats::scores::{ScoreReport, Scores, Summary};

/// Everything that determines a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Version of the program.
    pub version: String,
    /// File name of the table, for people.
    pub table: String,
    /// SHA-256 of the table and of its metadata sheet.
    pub inputs_sha256: Vec<String>,
    /// Name of the protocol.
    pub protocol: String,
    /// The number that the protocol's mask is made with, 0 to 1: share of the entries, taxa, samples or
    /// time points that is hidden, or of the depth that is left; 0 where the setting names a mask.
    pub fraction: f64,
    /// Seed of the mask and of the method; in a cross-validation, the fold.
    pub seed: u64,
    /// Name of the method.
    pub method: String,
    /// What else the method depends on, by name; empty for a baseline.
    pub setting: std::collections::BTreeMap<String, String>,
}

impl Key {
    /// Name of the result file.
    pub fn file_name(&self) -> String {
        let text = serde_json::to_string(self).expect("a key holds only text and finite numbers");
        format!(
            "{}-seed{}-{}.json",
            self.method,
            self.seed,
            &digest_text(&text)[..16]
        )
    }
}

/// One row of scores; an undefined score is `NaN` here and `null` in the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Pearson correlation.
    #[serde(with = "nan_as_null")]
    pub pcc: f64,
    /// Cosine similarity.
    #[serde(with = "nan_as_null")]
    pub cos: f64,
    /// Root mean squared error in `ln(1 + percent)`.
    #[serde(with = "nan_as_null")]
    pub rmse: f64,
    /// Mean absolute error in `ln(1 + percent)`.
    #[serde(with = "nan_as_null")]
    pub mae: f64,
    /// Entries (pooled), or taxa or samples with enough hidden entries.
    pub n: usize,
}

impl From<Scores> for Figures {
    fn from(s: Scores) -> Self {
        Figures {
            pcc: s.pcc,
            cos: s.cos,
            rmse: s.rmse,
            mae: s.mae,
            n: s.n,
        }
    }
}

impl From<Summary> for Figures {
    fn from(s: Summary) -> Self {
        Figures {
            pcc: s.pcc,
            cos: s.cos,
            rmse: s.rmse,
            mae: s.mae,
            n: s.n_groups,
        }
    }
}

/// Over what a correlation is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All hidden entries at once.
    Pooled,
    /// Mean over taxa.
    PerTaxon,
    /// Mean over samples.
    PerSample,
}

impl Scope {
    /// All scopes in the order in which they are printed.
    pub const ALL: [Scope; 3] = [Scope::Pooled, Scope::PerTaxon, Scope::PerSample];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Pooled => "pooled",
            Scope::PerTaxon => "per taxon",
            Scope::PerSample => "per sample",
        }
    }
}

/// The scores of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// What was run.
    pub key: Key,
    /// Over all hidden entries.
    pub pooled: Figures,
    /// Mean over taxa with enough hidden entries.
    pub per_taxon: Figures,
    /// Median over the same taxa.
    pub per_taxon_median: Figures,
    /// Mean over samples with enough hidden entries.
    pub per_sample: Figures,
    /// Median over the same samples.
    pub per_sample_median: Figures,
    /// Taxa with enough hidden entries.
    pub taxa: Vec<TaxonFigures>,
    /// Quality of the draws, for methods that have them.
    pub draws: Option<DrawFigures>,
    /// How well hidden entries are told from true zeros, where they look alike.
    pub presence: Option<PresenceFigures>,
    /// What each sample with a scored entry adds to pooled scores: enough to pool results over folds
    /// and to draw samples anew.
    pub samples: Vec<SampleSums>,
    /// Thin samples against their full depth.
    pub depth: Option<DepthFigures>,
    /// The same for presence and the completed table, where entries were judged.
    pub judged: Vec<JudgedSums>,
    /// Wall-clock seconds.
    pub seconds: Seconds,
}

/// Wall-clock seconds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seconds {
    /// Fitting and filling, as far as it was done in this run.
    pub total: f64,
    /// Filling.
    pub filling: f64,
}

/// The scores of one taxon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaxonFigures {
    /// Feature id.
    pub id: String,
    /// Scores over its hidden entries.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Quality of draws as predictive distributions, in `ln(1 + percent)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DrawFigures {
    /// Continuous ranked probability score.
    #[serde(with = "nan_as_null")]
    pub crps: f64,
    /// Share of entries inside the central 50 % interval.
    #[serde(with = "nan_as_null")]
    pub coverage_50: f64,
    /// Share of entries inside the central 90 % interval.
    #[serde(with = "nan_as_null")]
    pub coverage_90: f64,
    /// Mean width of the 50 % interval.
    #[serde(with = "nan_as_null")]
    pub width_50: f64,
    /// Mean width of the 90 % interval.
    #[serde(with = "nan_as_null")]
    pub width_90: f64,
    /// Draws per entry.
    pub n_draws: usize,
}

impl DrawFigures {
    /// The quality over all entries of these samples.
    pub fn of(samples: &[SampleSums], n_draws: usize) -> Self {
        let sum = |of: &dyn Fn(&SampleSums) -> f64| samples.iter().map(of).sum::<f64>();
        let n = sum(&|s| s.n);
        DrawFigures {
            crps: sum(&|s| s.crps) / n,
            coverage_50: sum(&|s| s.inside[0]) / n,
            coverage_90: sum(&|s| s.inside[1]) / n,
            width_50: sum(&|s| s.width[0]) / n,
            width_90: sum(&|s| s.width[1]) / n,
            n_draws,
        }
    }
}

/// How well hidden entries are told from true zeros of the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresenceFigures {
    /// Area under the receiver operating characteristic.
    #[serde(with = "nan_as_null")]
    pub auroc: f64,
    /// Average precision.
    #[serde(with = "nan_as_null")]
    pub aupr: f64,
    /// Hidden entries.
    pub n_positive: usize,
    /// True zeros.
    pub n_negative: usize,
}

/// Sums over the scored entries of a sample, in `ln(1 + percent)`; a short array in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 13]", into = "[f64; 13]")]
pub struct SampleSums {
    /// Group of the sample; its position where there are no groups.
    pub group: usize,
    /// Scored entries.
    pub n: f64,
    /// Sum of the true values.
    pub truth: f64,
    /// Sum of the predicted values.
    pub value: f64,
    /// Sum of the squared true values.
    pub truth_squared: f64,
    /// Sum of the squared predicted values.
    pub value_squared: f64,
    /// Sum of true times predicted values.
    pub product: f64,
    /// Sum of the absolute errors.
    pub absolute_error: f64,
    /// Sum of the continuous ranked probability scores; 0 without draws.
    pub crps: f64,
    /// Entries inside of the central 50 % and 90 % intervals.
    pub inside: [f64; 2],
    /// Sums of the widths of these intervals.
    pub width: [f64; 2],
}

impl SampleSums {
    /// Sum of the squared errors.
    pub fn squared_error(&self) -> f64 {
        (self.truth_squared - 2.0 * self.product + self.value_squared).max(0.0)
    }

    /// The sums of both.
    pub fn and(&self, other: &SampleSums) -> SampleSums {
        let (a, b) = (<[f64; 13]>::from(*self), <[f64; 13]>::from(*other));
        let mut sum: [f64; 13] = std::array::from_fn(|k| a[k] + b[k]);
        sum[0] = a[0];
        SampleSums::from(sum)
    }

    /// Scores of all entries.
    pub fn figures(&self) -> Figures {
        let mean = |sum: f64| sum / self.n;
        let (truth, value) = (mean(self.truth), mean(self.value));
        let covariance = mean(self.product) - truth * value;
        let variances = [
            mean(self.truth_squared) - truth * truth,
            mean(self.value_squared) - value * value,
        ];
        // A constant prediction leaves rounding errors where its variance should be 0.
        let is_constant = variances.iter().any(|variance| *variance < 1e-12);
        Figures {
            pcc: match is_constant {
                true => f64::NAN,
                false => covariance / (variances[0] * variances[1]).sqrt(),
            },
            cos: self.product / (self.truth_squared * self.value_squared).sqrt(),
            rmse: mean(self.squared_error()).sqrt(),
            mae: mean(self.absolute_error),
            n: self.n as usize,
        }
    }
}

impl From<[f64; 13]> for SampleSums {
    fn from(a: [f64; 13]) -> Self {
        SampleSums {
            group: a[0] as usize,
            n: a[1],
            truth: a[2],
            value: a[3],
            truth_squared: a[4],
            value_squared: a[5],
            product: a[6],
            absolute_error: a[7],
            crps: a[8],
            inside: [a[9], a[10]],
            width: [a[11], a[12]],
        }
    }
}

impl From<SampleSums> for [f64; 13] {
    fn from(s: SampleSums) -> Self {
        let [inside_50, inside_90] = s.inside;
        let [width_50, width_90] = s.width;
        [
            s.group as f64,
            s.n,
            s.truth,
            s.value,
            s.truth_squared,
            s.value_squared,
            s.product,
            s.absolute_error,
            s.crps,
            inside_50,
            inside_90,
            width_50,
            width_90,
        ]
    }
}

impl Outcome {
    /// Gathers the scores of a run; draws, presence and samples are added to it.
    pub fn new(key: Key, report: &ScoreReport, feature_ids: &[String], seconds: Seconds) -> Self {
        let taxa = feature_ids
            .iter()
            .zip(&report.per_taxon.groups)
            .filter_map(|(id, group)| {
                group.map(|scores| TaxonFigures {
                    id: id.clone(),
                    figures: scores.into(),
                })
            })
            .collect();
        Outcome {
            key,
            pooled: report.pooled.into(),
            per_taxon: report.per_taxon.mean.into(),
            per_taxon_median: report.per_taxon.median.into(),
            per_sample: report.per_sample.mean.into(),
            per_sample_median: report.per_sample.median.into(),
            taxa,
            draws: None,
            presence: None,
            samples: Vec::new(),
            depth: None,
            judged: Vec::new(),
            seconds,
        }
    }

    /// The scores in one scope.
    pub fn in_scope(&self, scope: Scope) -> Figures {
        match scope {
            Scope::Pooled => self.pooled,
            Scope::PerTaxon => self.per_taxon,
            Scope::PerSample => self.per_sample,
        }
    }

    /// The finished result of this key in a folder, if there is one.
    ///
    /// # Errors
    /// A file of the right name with other content.
    pub fn find(folder: &Path, key: &Key) -> Result<Option<Outcome>> {
        let path = folder.join(key.file_name());
        if !path.exists() {
            return Ok(None);
        }
        let outcome = Outcome::read(&path)?;
        if outcome.key == *key {
            Ok(Some(outcome))
        } else {
            Err(not_a_result(&path, "the result of another run".into()))
        }
    }

    /// Reads a result file.
    ///
    /// # Errors
    /// A file that is not one.
    pub fn read(path: &Path) -> Result<Outcome> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
        serde_json::from_str(&text).map_err(|error| not_a_result(path, error.to_string()))
    }

    /// Writes the result file into a folder, whole or not at all; returns its path.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(self.key.file_name());
        let text = serde_json::to_string(self).expect("an outcome holds only text and numbers");
        write_text(&path, Overwrite::Replace, &(text + "\n"))?;
        Ok(path)
    }
}

fn not_a_result(path: &Path, found: String) -> Error {
    suffuse_data::Error::format(
        path,
        "content",
        found,
        "a result of `suffuse evaluate`; delete the file to compute it again",
    )
    .into()
}

/// JSON has no `NaN`: an undefined score is written as `null`.
pub(super) mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::evaluate) fn serialize<S: Serializer>(
        value: &f64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (!value.is_nan()).then_some(*value).serialize(serializer)
    }

    pub(in crate::evaluate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(method: &str, seed: u64, rmse: f64) -> Outcome {
        let figures = Figures {
            pcc: 0.5,
            cos: 0.9,
            rmse,
            mae: rmse / 2.0,
            n: 10,
        };
        let undefined = Figures {
            pcc: f64::NAN,
            ..figures
        };
        Outcome {
            key: Key {
                version: "0".into(),
                table: "t.tsv".into(),
                inputs_sha256: vec!["abc".into()],
                protocol: "published".into(),
                fraction: 0.1,
                seed,
                method: method.into(),
                setting: [("config".to_string(), "epochs = 3".to_string())].into(),
            },
            pooled: figures,
            per_taxon: undefined,
            per_taxon_median: undefined,
            per_sample: figures,
            per_sample_median: figures,
            taxa: vec![TaxonFigures {
                id: "a".into(),
                figures: undefined,
            }],
            draws: None,
            presence: None,
            samples: Vec::new(),
            depth: None,
            judged: Vec::new(),
            seconds: Seconds {
                total: 1.5,
                filling: 0.5,
            },
        }
    }

    #[test]
    fn a_result_survives_its_file_with_undefined_scores() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = example("knn", 1, 0.25);
        assert_eq!(Outcome::find(folder.path(), &outcome.key).unwrap(), None);
        let path = outcome.write(folder.path()).unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("\"pcc\":null")
        );
        let back = Outcome::find(folder.path(), &outcome.key).unwrap().unwrap();
        assert_eq!(format!("{back:?}"), format!("{outcome:?}"));
    }

    #[test]
    fn the_name_of_a_result_changes_with_anything_that_determines_it() {
        let key = example("knn", 1, 0.0).key;
        let mut others = vec![key.clone(); 5];
        others[0].seed = 2;
        others[1].method = "zero".into();
        others[2].fraction = 0.3;
        others[3].inputs_sha256[0] = "abd".into();
        others[4]
            .setting
            .insert("config".into(), "epochs = 4".into());
        for other in others {
            assert_ne!(other.file_name(), key.file_name());
        }
    }

    #[test]
    fn a_damaged_result_is_named_and_can_be_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = example("knn", 1, 0.25);
        let path = outcome.write(folder.path()).unwrap();
        std::fs::write(&path, "{").unwrap();
        let message = Outcome::find(folder.path(), &outcome.key)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("knn-seed1-") && message.contains("delete the file"),
            "{message}"
        );
    }
}
