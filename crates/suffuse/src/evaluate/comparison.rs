//! Methods compared over the folds of a cross-validation: pooled scores, and ratios to the best
//! baseline with their intervals.

use super::outcome::{DrawFigures, Outcome, SampleSums};
use super::summary::by_method;
use crate::method::Method;
use serde::Serialize;
use std::collections::BTreeMap;
use suffuse_stats::bootstrap::{Ratio, Shares, ratio};

/// The scores of a method at one share of hidden entries, over all folds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Protocol.
    pub protocol: String,
    /// Share of the non-zero entries that was hidden.
    pub fraction: f64,
    /// Name of the method.
    pub method: String,
    /// Scored entries.
    pub n: usize,
    /// Root mean squared error in `ln(1 + percent)`, all entries of all folds pooled.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Pearson correlation.
    pub pcc: f64,
    /// Cosine similarity.
    pub cos: f64,
    /// Draws, where the method has them.
    pub draws: Option<DrawFigures>,
    /// Mean over folds of the area under the receiver operating characteristic of presence.
    pub auroc: Option<f64>,
    /// RMSE divided by that of the best baseline; `None` for zero entries.
    pub rmse_ratio: Option<Ratio>,
    /// CRPS divided by that of the best baseline by RMSE.
    pub crps_ratio: Option<Ratio>,
    /// Mean seconds per fold, fitting included.
    pub seconds: f64,
    /// Folds.
    pub n_folds: usize,
}

/// Seed of the bootstrap.
const SEED: u64 = 0;

/// One row per share of hidden entries and method; outcomes of one table and setting.
pub fn rows(outcomes: &[Outcome]) -> Vec<Row> {
    let mut fractions: Vec<f64> = outcomes.iter().map(|o| o.key.fraction).collect();
    fractions.sort_by(f64::total_cmp);
    fractions.dedup();
    fractions
        .into_iter()
        .flat_map(|fraction| {
            let here: Vec<Outcome> = outcomes
                .iter()
                .filter(|outcome| outcome.key.fraction == fraction)
                .cloned()
                .collect();
            of_fraction(&here)
        })
        .collect()
}

fn of_fraction(outcomes: &[Outcome]) -> Vec<Row> {
    let groups = by_method(outcomes);
    let sums: Vec<BTreeMap<usize, SampleSums>> =
        groups.iter().map(|(_, group)| by_group(group)).collect();
    let pooled: Vec<SampleSums> = sums.iter().map(total).collect();
    let rmse = |k: usize| pooled[k].figures().rmse;
    let best = (0..groups.len())
        .filter(|k| is_baseline(&groups[*k].0) && !rmse(*k).is_nan())
        .min_by(|a, b| rmse(*a).total_cmp(&rmse(*b)));
    let against_best = |k: usize, of: fn(&SampleSums) -> f64, f: fn(f64) -> f64| {
        let best = &sums[best?];
        let shares: Vec<Shares> = sums[k]
            .iter()
            .filter_map(|(group, sums)| {
                let below = of(best.get(group)?);
                Some(Shares {
                    above: of(sums),
                    below,
                })
            })
            .collect();
        ratio(&shares, f, SEED)
    };
    groups
        .iter()
        .enumerate()
        .map(|(k, (method, group))| {
            let figures = pooled[k].figures();
            let n_draws = group
                .iter()
                .find_map(|o| o.draws.map(|draws| draws.n_draws));
            let aurocs: Vec<f64> = group
                .iter()
                .filter_map(|o| o.presence.map(|presence| presence.auroc))
                .collect();
            let n_folds = group.len() as f64;
            Row {
                protocol: group[0].key.protocol.clone(),
                fraction: group[0].key.fraction,
                method: method.clone(),
                n: figures.n,
                rmse: figures.rmse,
                mae: figures.mae,
                pcc: figures.pcc,
                cos: figures.cos,
                draws: n_draws.map(|n_draws| DrawFigures::of(&[pooled[k]], n_draws)),
                auroc: (!aurocs.is_empty())
                    .then(|| aurocs.iter().sum::<f64>() / aurocs.len() as f64),
                rmse_ratio: against_best(k, SampleSums::squared_error, f64::sqrt),
                crps_ratio: n_draws.and_then(|_| against_best(k, |s| s.crps, |x| x)),
                seconds: group.iter().map(|o| o.seconds.total).sum::<f64>() / n_folds,
                n_folds: group.len(),
            }
        })
        .collect()
}

/// The sums of each group of samples over all folds.
fn by_group(outcomes: &[&Outcome]) -> BTreeMap<usize, SampleSums> {
    let mut sums: BTreeMap<usize, SampleSums> = BTreeMap::new();
    for sample in outcomes.iter().flat_map(|outcome| &outcome.samples) {
        let sum = sums
            .get(&sample.group)
            .map_or(*sample, |sum| sum.and(sample));
        sums.insert(sample.group, sum);
    }
    sums
}

fn total(sums: &BTreeMap<usize, SampleSums>) -> SampleSums {
    let zero = SampleSums::default();
    sums.values().fold(zero, |total, sample| total.and(sample))
}

/// Says in words, for each share of hidden entries, how the model compares with the best baseline.
pub fn verdicts(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .filter(|row| !is_baseline(&row.method))
        .filter_map(|row| {
            let ratio = row.rmse_ratio?;
            let best = rows
                .iter()
                .filter(|other| other.fraction == row.fraction && is_baseline(&other.method))
                .min_by(|a, b| a.rmse.total_cmp(&b.rmse))?;
            let judgement = match (ratio.low, ratio.high) {
                (_, high) if high < 1.0 => "better than",
                (low, _) if low > 1.0 => "WORSE than",
                _ => "not told apart from",
            };
            Some(format!(
                "{} % hidden: {} is {judgement} the best baseline ({}): RMSE {:.3} against {:.3}, ratio {:.3} [{:.3}, {:.3}]",
                100.0 * row.fraction,
                row.method,
                best.method,
                row.rmse,
                best.rmse,
                ratio.value,
                ratio.low,
                ratio.high
            ))
        })
        .collect()
}

fn is_baseline(name: &str) -> bool {
    matches!(name.parse::<Method>(), Ok(Method::Baseline(_)))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::example;
    use super::*;

    /// An outcome of two samples of one group each with squared error `squared` per entry.
    fn outcome(method: &str, fold: u64, error: f64) -> Outcome {
        let sample = |group: usize| {
            let values = [(1.0, 1.0 + error), (2.0, 2.0 - error), (4.0, 4.0 + error)];
            let mut sums = SampleSums {
                group: group + 10 * fold as usize,
                ..SampleSums::default()
            };
            for (truth, value) in values {
                sums.n += 1.0;
                sums.truth += truth;
                sums.value += value;
                sums.truth_squared += truth * truth;
                sums.value_squared += value * value;
                sums.product += truth * value;
                sums.absolute_error += f64::abs(value - truth);
            }
            sums
        };
        Outcome {
            samples: vec![sample(1), sample(2)],
            ..example(method, fold, 0.0)
        }
    }

    #[test]
    fn folds_are_pooled_and_the_model_is_compared_with_the_best_baseline() {
        let outcomes = [
            outcome("depmicrodiff", 0, 0.3),
            outcome("depmicrodiff", 1, 0.3),
            outcome("knn", 0, 0.5),
            outcome("knn", 1, 0.7),
            outcome("zero", 0, 2.0),
            outcome("zero", 1, 2.0),
        ];
        let rows = rows(&outcomes);
        let knn = f64::sqrt((0.25 + 0.49) / 2.0);
        assert_eq!((rows.len(), rows[0].n, rows[0].n_folds), (3, 12, 2));
        assert!((rows[1].rmse - knn).abs() < 1e-12);
        let ratio = rows[0].rmse_ratio.unwrap();
        assert!((ratio.value - 0.3 / knn).abs() < 1e-12);
        // Every draw of groups mixes the two ratios .3 / .5 and .3 / .7.
        assert!(ratio.low > 0.3 / 0.7 - 1e-12 && ratio.high < 0.3 / 0.5 + 1e-12);
        let verdicts = verdicts(&rows);
        assert_eq!(verdicts.len(), 1);
        assert!(
            verdicts[0].contains("better than the best baseline (knn)"),
            "{verdicts:?}"
        );
    }

    #[test]
    fn sums_give_the_scores_of_the_entries_themselves() {
        let truth = [1.0, 2.0, 4.0, 0.5];
        let value = [1.5, 1.0, 3.0, 0.7];
        let mut sums = SampleSums::default();
        for (truth, value) in truth.iter().zip(value) {
            let one = SampleSums {
                n: 1.0,
                truth: *truth,
                value,
                truth_squared: truth * truth,
                value_squared: value * value,
                product: truth * value,
                absolute_error: f64::abs(value - truth),
                ..SampleSums::default()
            };
            sums = sums.and(&one);
        }
        let expected = suffuse_stats::scores::score(&truth, &value).unwrap();
        let found = sums.figures();
        for (a, b) in [
            (found.pcc, expected.pcc),
            (found.cos, expected.cos),
            (found.rmse, expected.rmse),
            (found.mae, expected.mae),
        ] {
            assert!((a - b).abs() < 1e-12, "{found:?} {expected:?}");
        }
    }
}
