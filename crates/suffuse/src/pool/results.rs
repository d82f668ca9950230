//! What a comparison over completed tables gives, as numbers and as text.

use super::LogScale;
use serde::Serialize;
use suffuse_stats::correlation_inflation::Inflation;
use suffuse_stats::differential::{FalsePositives, Test};

/// A taxon over all completed tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Taxon {
    /// Feature id.
    pub feature: String,
    /// Mean over the compared samples, pooled.
    pub mean: f64,
    /// Its 95 % interval.
    pub mean_interval: [f64; 2],
    /// Second group minus first (Welch), or probability that a sample of the second is above one of
    /// the first (Wilcoxon).
    pub effect: f64,
    /// Its 95 % interval.
    pub effect_interval: [f64; 2],
    /// Test statistic.
    pub t: f64,
    /// Degrees of freedom; infinite for Wilcoxon without missing information.
    pub df: f64,
    /// Two-sided p-value.
    pub p: f64,
    /// Benjamini-Hochberg over the taxa.
    pub q: f64,
    /// Fraction of missing information of the effect.
    pub missing_information: f64,
    /// p-value in the original.
    pub p_original: f64,
    /// Its Benjamini-Hochberg value.
    pub q_original: f64,
}

/// What the test and the correlations do before and after filling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Check {
    /// The test on the original under permuted labels.
    pub before: FalsePositives,
    /// The pooled test under the same labels.
    pub after: FalsePositives,
    /// Correlations between taxa.
    pub correlation: Inflation,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// The groups: effects are of the second against the first.
    pub levels: [String; 2],
    /// Samples of each.
    pub n_samples: [usize; 2],
    /// Completed tables.
    pub n_tables: usize,
    /// Test per taxon.
    pub test: Test,
    /// Scale of the values.
    pub scale: LogScale,
    /// In the order of the table.
    pub taxa: Vec<Taxon>,
    /// Present if permutations were asked for.
    pub check: Option<Check>,
    /// What the user should know, one sentence each.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl Results {
    /// The taxa as tab-separated text with a header; an undefined number is left empty.
    pub fn tsv(&self) -> String {
        let effect = match self.test {
            Test::Welch => "difference",
            Test::Wilcoxon => "superiority",
        };
        let mut text = format!(
            "feature\tmean\tmean_lower_95\tmean_upper_95\t{effect}\tlower_95\tupper_95\tt\tdf\tp\tq\tmissing_information\tp_original\tq_original\n"
        );
        for taxon in &self.taxa {
            text.push_str(&taxon.feature);
            let [mean_lower, mean_upper] = taxon.mean_interval;
            let [lower, upper] = taxon.effect_interval;
            for number in [
                taxon.mean,
                mean_lower,
                mean_upper,
                taxon.effect,
                lower,
                upper,
                taxon.t,
                taxon.df,
                taxon.p,
                taxon.q,
                taxon.missing_information,
                taxon.p_original,
                taxon.q_original,
            ] {
                text.push('\t');
                match number {
                    x if x.is_nan() => {}
                    x if x != 0.0 && x.abs() < 1e-4 => text.push_str(&format!("{x:e}")),
                    x => text.push_str(&x.to_string()),
                }
            }
            text.push('\n');
        }
        text
    }
}
