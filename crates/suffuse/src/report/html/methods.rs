//! The table of methods with the user's own numbers, and what each method does in a sentence.

use super::{count, thousands};
use crate::auto::Tested;
use crate::evaluate::comparison;
use crate::evaluate::outcome::Scope;
use crate::evaluate::summary;
use serde::Serialize;
use std::collections::BTreeMap;
use suffuse_stats::bootstrap::{Ratio, Shares, ratio};
use suffuse_stats::impute::Method as Baseline;
use suffuse_stats::scores::score;

/// A table with a bar per line.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct MethodTable {
    pub(super) caption: String,
    /// Heads of the columns after method and error, with what they mean.
    pub(super) columns: Vec<Column>,
    /// The least error first.
    pub(super) rows: Vec<MethodRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) meaning: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct MethodRow {
    /// Name on the command line.
    pub(super) name: String,
    /// What filled the table, or what the evaluation is about.
    pub(super) is_used: bool,
    pub(super) error: String,
    /// Length of the bar, 0 to 100.
    pub(super) bar: f64,
    /// Texts of the further columns.
    pub(super) cells: Vec<String>,
}

/// Seed of the bootstrap.
const SEED: u64 = 0;

fn column(name: &str, meaning: &str) -> Column {
    Column {
        name: name.to_string(),
        meaning: meaning.to_string(),
    }
}

/// A number with three decimals, a dash where it is undefined.
pub(super) fn number(value: f64) -> String {
    match value.is_finite() {
        true => format!("{value:.3}").replace('-', "−"),
        false => "–".to_string(),
    }
}

fn with_interval(ratio: Option<Ratio>) -> String {
    ratio.map_or("–".to_string(), |r| {
        format!("{:.2} [{:.2}, {:.2}]", r.value, r.low, r.high)
    })
}

/// RMSE of a method on hidden entries divided by that of the taxon mean, with a bootstrap interval over
/// samples.
pub(super) fn against_mean(tested: &Tested, values: &[f64]) -> Option<Ratio> {
    let mean = tested.values.get(Baseline::TaxonMean.name())?;
    let mut samples: BTreeMap<usize, Shares> = BTreeMap::new();
    let each = tested.said.iter().zip(&tested.places).zip(values).zip(mean);
    for (((said, (sample, _)), value), mean) in each {
        let shares = samples.entry(*sample).or_default();
        shares.above += (value - said.truth).powi(2);
        shares.below += (mean - said.truth).powi(2);
    }
    ratio(&samples.into_values().collect::<Vec<_>>(), f64::sqrt, SEED)
}

/// What each method says of hidden entries; `used` is the one that filled the table.
pub(super) fn of_tested(tested: &Tested, used: &str) -> MethodTable {
    let truth: Vec<f64> = tested.said.iter().map(|said| said.truth).collect();
    let mut values: Vec<(String, Vec<f64>)> = tested
        .values
        .iter()
        .map(|(name, values)| (name.clone(), values.clone()))
        .collect();
    let zero = Baseline::Zero.to_string();
    if !tested.values.contains_key(&zero) {
        values.push((zero, vec![0.0; truth.len()]));
    }
    let rows = values
        .iter()
        .filter_map(|(name, values)| {
            let scores = score(&truth, values).ok()?;
            let cells = vec![
                with_interval(against_mean(tested, values)),
                number(scores.mae),
                number(scores.pcc),
            ];
            Some((name.clone(), scores.rmse, cells))
        })
        .collect();
    let distinct = |mut places: Vec<(usize, usize)>| {
        places.sort_unstable();
        places.dedup();
        places.len()
    };
    let n_samples = distinct(tested.places.iter().map(|at| (at.0, 0)).collect());
    let n_different = distinct(tested.places.clone());
    MethodTable {
        caption: match n_different == truth.len() {
            true => format!("{n_different} hidden entries of {n_samples} samples"),
            false => format!(
                "{n_different} hidden entries of {n_samples} samples, some hidden more than once: {} comparisons",
                truth.len()
            ),
        },
        columns: vec![
            column(
                "÷ taxon average",
                "Error divided by that of the taxon's average; below 1 is better. In brackets the 95 % interval over samples",
            ),
            column("mean error", "Mean absolute error, ln(1 + percent)"),
            column(
                "correlation",
                "Pearson correlation of filled and true values",
            ),
        ],
        rows: sorted(rows, used),
    }
}

fn sorted(mut rows: Vec<(String, f64, Vec<String>)>, used: &str) -> Vec<MethodRow> {
    let key = |rmse: f64| if rmse.is_nan() { f64::INFINITY } else { rmse };
    rows.sort_by(|a, b| key(a.1).total_cmp(&key(b.1)));
    let finite = rows.iter().map(|row| row.1).filter(|rmse| rmse.is_finite());
    let largest = finite.fold(f64::MIN_POSITIVE, f64::max);
    rows.into_iter()
        .map(|(name, rmse, cells)| MethodRow {
            is_used: name == used,
            name,
            error: number(rmse),
            bar: match rmse.is_finite() {
                true => (1000.0 * rmse / largest).round() / 10.0,
                false => 0.0,
            },
            cells,
        })
        .collect()
}

/// A table per share of hidden entries of a cross-validation.
pub(super) fn of_comparison(rows: &[comparison::Row], used: &str) -> Vec<MethodTable> {
    let mut fractions: Vec<f64> = rows.iter().map(|row| row.fraction).collect();
    fractions.sort_by(f64::total_cmp);
    fractions.dedup();
    fractions
        .into_iter()
        .map(|fraction| {
            let here: Vec<&comparison::Row> =
                rows.iter().filter(|row| row.fraction == fraction).collect();
            let has_presence = here.iter().any(|row| row.auroc.is_some());
            let percent = |share: Option<f64>| {
                let known = share.filter(|share| share.is_finite()); // of no entry there is none
                known.map_or("–".to_string(), |share| format!("{:.1} %", 100.0 * share))
            };
            let lines = here.iter().map(|row| {
                let mut cells = vec![
                    with_interval(row.rmse_ratio),
                    thousands(row.n),
                    number(row.mae),
                    number(row.pcc),
                    row.draws.map_or("–".to_string(), |draws| number(draws.crps)),
                    percent(row.draws.map(|draws| draws.coverage_50)),
                    percent(row.draws.map(|draws| draws.coverage_90)),
                ];
                if has_presence {
                    cells.push(row.auroc.map_or("–".to_string(), number));
                }
                (row.method.clone(), row.rmse, cells)
            });
            let mut columns = vec![
                column("÷ best classical", "Error divided by that of the best classical method; below 1 is better. In brackets the 95 % interval over groups of samples"),
                column("entries", "Hidden entries that the method gave a value to"),
                column("mean error", "Mean absolute error, ln(1 + percent)"),
                column("correlation", "Pearson correlation of filled and true values"),
                column("CRPS", "Continuous ranked probability score: error of the whole predictive distribution; less is better"),
                column("in 50 %", "Share of true values inside the 50 % interval"),
                column("in 90 %", "Share of true values inside the 90 % interval"),
            ];
            if has_presence {
                columns.push(column("presence", "Area under the curve of telling hidden entries from true zeros; 0.5 is a guess, 1 is perfect"));
            }
            let most = here.iter().map(|row| row.n).max().unwrap_or(0);
            let folds = here.iter().map(|row| row.n_folds).max().unwrap_or(0);
            MethodTable {
                caption: format!(
                    "{}: {} over {folds} {}",
                    here[0].what(),
                    count(most, "scored entry", "scored entries"),
                    if folds == 1 { "fold" } else { "folds" }
                ),
                columns,
                rows: sorted(lines.collect(), used),
            }
        })
        .collect()
}

/// The table of an evaluation over mask seeds.
pub(super) fn of_summary(rows: &[summary::Row], used: &str) -> MethodTable {
    let pooled: Vec<&summary::Row> = rows
        .iter()
        .filter(|row| row.scope == Scope::Pooled.name())
        .collect();
    let n_seeds = pooled.iter().map(|row| row.n_seeds).max().unwrap_or(0);
    let lines = pooled.iter().map(|row| {
        let cells = vec![
            number(row.rmse_ln.sd),
            number(row.mae_ln.mean),
            number(row.pcc.mean),
            number(row.cos.mean),
        ];
        (row.method.clone(), row.rmse_ln.mean, cells)
    });
    MethodTable {
        caption: format!(
            "Mean over {n_seeds} random {} of hidden entries",
            if n_seeds == 1 { "choice" } else { "choices" }
        ),
        columns: vec![
            column(
                "± over choices",
                "Standard deviation of the error over the random choices",
            ),
            column("mean error", "Mean absolute error, ln(1 + percent)"),
            column(
                "correlation",
                "Pearson correlation of filled and true values",
            ),
            column("cosine", "Cosine similarity of filled and true values"),
        ],
        rows: sorted(lines.collect(), used),
    }
}

/// What a method does, for people who do not know its name.
pub(super) fn explained(name: &str) -> &'static str {
    match name {
        "auto" => {
            "a diffusion model and classical methods, weighed by how well they did on hidden entries of this table"
        }
        "depmicrodiff" => {
            "a diffusion model that learns which taxa go together and draws several plausible values for each gap; where it is fitted and fills in one go, weighed with a regression on the other taxa"
        }
        "diffusion" => "the diffusion model alone, without the classical methods beside it",
        "depmicrodiff-without-times" => {
            "the same model fitted without subjects and times: what it knows of a missed visit is its metadata"
        }
        "last-value" => "the last visit of the subject before the gap, carried forward",
        "linear-interpolation" => {
            "a line between the visits of the subject before and after the gap"
        }
        "subject-mean" => "the average over the visits of the subject",
        "zero" => "leaves every gap at zero",
        "taxon-mean" => {
            "the average of the taxon where it was seen: the simplest method worth comparing with"
        }
        "taxon-mean-offset" => {
            "the average of the taxon, shifted by how high the sample lies as a whole"
        }
        "knn" => "the average over the most similar samples",
        "soft-impute" => "a low-rank matrix: a few patterns that all samples mix, with shrinkage",
        "svd" => "a low-rank matrix: a few patterns that all samples mix",
        "nmf" => "a few patterns without negative parts that all samples mix",
        "local-least-squares" => "a regression on the taxa that are most alike",
        "ridge" => "a regression on all other taxa with shrinkage",
        "extra-trees" => "a forest of random decision trees per taxon, on the other taxa",
        _ => "another method",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method;
    use suffuse_stats::calibration::CalibrationEntry;

    #[test]
    fn every_method_is_explained() {
        for method in method::all().into_iter().chain(method::in_time()) {
            assert_ne!(explained(&method.to_string()), "another method", "{method}");
        }
    }

    #[test]
    fn the_table_holds_the_users_numbers_with_the_least_error_first() {
        let mut tested = Tested::default();
        for sample in 0..20 {
            tested.places.push((sample, 0));
            tested.said.push(CalibrationEntry {
                truth: 1.0 + sample as f64,
                value: 1.1 + sample as f64,
                draws: Vec::new(),
            });
        }
        let shifted = |by: f64| tested.said.iter().map(|said| said.truth + by).collect();
        let (auto, mean) = (shifted(0.1), shifted(0.4));
        tested.values.insert("auto".into(), auto);
        tested.values.insert("taxon-mean".into(), mean);
        let table = of_tested(&tested, "auto");
        let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["auto", "taxon-mean", "zero"]);
        assert!(table.rows[0].is_used && table.rows[2].bar == 100.0);
        // Every sample has the same ratio of .1 to .4, so the interval is a point.
        assert_eq!(table.rows[0].cells[0], "0.25 [0.25, 0.25]");
        assert_eq!(table.rows[1].error, "0.400");
    }
}
