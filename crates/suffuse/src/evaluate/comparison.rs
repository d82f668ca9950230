//! Methods compared over the folds of a cross-validation: pooled scores, and ratios and differences to
//! the best baseline with their intervals.

use super::judged::{DepthFigures, JudgedSums};
use super::outcome::{DrawFigures, Outcome, SampleSums};
use super::summary::by_method;
use crate::method::Method;
use serde::Serialize;
use std::collections::BTreeMap;
use suffuse_stats::bootstrap::{Interval, Ratio, Shares, area_difference, ratio};

/// The scores of a method at one share of hidden entries, over all folds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Protocol.
    pub protocol: String,
    /// What the mask was made with: the share that was hidden, or of the depth that was left.
    pub fraction: f64,
    /// The mask, where it was not that of the protocol.
    pub mask: Option<String>,
    /// Name of the method.
    pub method: String,
    /// Scored entries to which the method gave a value.
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
    /// Area under the receiver operating characteristic of presence: the mean over folds, weighted by
    /// their hidden non-zeros.
    pub auroc: Option<f64>,
    /// Mean over folds of the average precision of presence.
    pub aupr: Option<f64>,
    /// AUROC less that of the best baseline by AUROC.
    pub auroc_difference: Option<Interval>,
    /// RMSE of the completed table over hidden non-zeros and true zeros, where presence was judged.
    pub completed_rmse: Option<f64>,
    /// That divided by the least of the baselines.
    pub completed_ratio: Option<Ratio>,
    /// Thin samples against their full depth.
    pub depth: Option<DepthFigures>,
    /// RMSE divided by that of the best baseline; `None` for zero entries, and where the two gave values
    /// to other entries.
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
    let judged: Vec<BTreeMap<usize, JudgedSums>> = groups
        .iter()
        .map(|(_, group)| judged_by_group(group))
        .collect();
    let zeros: Vec<Option<JudgedSums>> = judged
        .iter()
        .map(|judged| judged.values().copied().reduce(|a, b| a.and(&b)))
        .collect();
    let rmse = |k: usize| Some(pooled[k].figures().rmse);
    let auroc = |k: usize| zeros[k].map(|zeros| zeros.positive / zeros.n_positive);
    let completed = |k: usize| zeros[k].map(|zeros| zeros.rmse());
    let least = |of: &dyn Fn(usize) -> Option<f64>| {
        (0..groups.len())
            .filter(|k| is_baseline(&groups[*k].0))
            .filter_map(|k| {
                of(k)
                    .filter(|value| !value.is_nan())
                    .map(|value| (k, value))
            })
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(k, _)| k)
    };
    let best = least(&rmse);
    let best_auroc = least(&|k| auroc(k).map(|area| -area));
    let best_completed = least(&completed);
    let against_best = |k: usize, of: fn(&SampleSums) -> f64, f: fn(f64) -> f64| {
        let best = &sums[best?];
        if best.len() != sums[k].len() {
            return None;
        }
        let shares = sums[k].iter().map(|(group, sums)| {
            let other = best.get(group).filter(|other| other.n == sums.n)?;
            Some(Shares {
                above: of(sums),
                below: of(other),
            })
        });
        ratio(&shares.collect::<Option<Vec<Shares>>>()?, f, SEED)
    };
    groups
        .iter()
        .enumerate()
        .map(|(k, (method, group))| {
            let figures = pooled[k].figures();
            let n_draws = group
                .iter()
                .find_map(|o| o.draws.map(|draws| draws.n_draws));
            let auprs: Vec<f64> = group
                .iter()
                .filter_map(|o| o.presence.map(|presence| presence.aupr))
                .filter(|aupr| !aupr.is_nan()) // a fold without a hidden non-zero has none
                .collect();
            let n_folds = group.len() as f64;
            let key = &group[0].key;
            Row {
                protocol: key.protocol.clone(),
                fraction: key.fraction,
                mask: key.setting.get("mask").cloned(),
                method: method.clone(),
                n: figures.n,
                rmse: figures.rmse,
                mae: figures.mae,
                pcc: figures.pcc,
                cos: figures.cos,
                draws: n_draws.map(|n_draws| DrawFigures::of(&[pooled[k]], n_draws)),
                auroc: auroc(k),
                aupr: (!auprs.is_empty()).then(|| auprs.iter().sum::<f64>() / auprs.len() as f64),
                auroc_difference: best_auroc.and_then(|best| {
                    let both = both(&judged[k], &judged[best])?;
                    let placed: Vec<_> = both.iter().map(|pair| pair.map(|s| s.placed())).collect();
                    area_difference(&placed, SEED)
                }),
                completed_rmse: completed(k),
                completed_ratio: best_completed.and_then(|best| {
                    let both = both(&judged[k], &judged[best])?;
                    let share = |[own, other]: &[JudgedSums; 2]| Shares {
                        above: own.squared_error,
                        below: other.squared_error,
                    };
                    let shares: Vec<Shares> = both.iter().map(share).collect();
                    ratio(&shares, f64::sqrt, SEED)
                }),
                depth: zeros[k].and_then(|zeros| zeros.depth()),
                rmse_ratio: against_best(k, SampleSums::squared_error, f64::sqrt),
                crps_ratio: n_draws.and_then(|_| against_best(k, |s| s.crps, |x| x)),
                seconds: group.iter().map(|o| o.seconds.total).sum::<f64>() / n_folds,
                n_folds: group.len(),
            }
        })
        .collect()
}

/// The sums of two methods for each group; `None` if one judged a group that the other did not.
fn both(
    own: &BTreeMap<usize, JudgedSums>,
    other: &BTreeMap<usize, JudgedSums>,
) -> Option<Vec<[JudgedSums; 2]>> {
    if own.len() != other.len() {
        return None;
    }
    let pair = |(group, own): (&usize, &JudgedSums)| Some([*own, *other.get(group)?]);
    own.iter().map(pair).collect()
}

fn judged_by_group(outcomes: &[&Outcome]) -> BTreeMap<usize, JudgedSums> {
    let mut sums: BTreeMap<usize, JudgedSums> = BTreeMap::new();
    for sample in outcomes.iter().flat_map(|outcome| &outcome.judged) {
        let sum = sums
            .get(&sample.group)
            .map_or(*sample, |sum| sum.and(sample));
        sums.insert(sample.group, sum);
    }
    sums
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

/// Says in words, for each share of hidden entries, how the model compares with the best baseline: in
/// its values, in what it says of presence, and in the completed table.
pub fn verdicts(rows: &[Row]) -> Vec<String> {
    let mut verdicts = Vec::new();
    for row in rows.iter().filter(|row| !is_baseline(&row.method)) {
        let baselines: Vec<&Row> = rows
            .iter()
            .filter(|other| other.fraction == row.fraction && is_baseline(&other.method))
            .collect();
        let best = |of: &dyn Fn(&Row) -> Option<f64>| {
            let known = baselines.iter().filter_map(|other| {
                let value = of(other).filter(|value| !value.is_nan())?;
                Some((value, &other.method))
            });
            known.min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let mut say = |text: String| verdicts.push(format!("{}: {text}", row.what()));
        let method = &row.method;
        if row.n == 0 && row.auroc.is_none() {
            say(format!(
                "{method} gives no value to a sample of which nothing was measured and is not scored"
            ));
            continue;
        }
        if let (Some(ratio), Some((rmse, name))) = (row.rmse_ratio, best(&|r| Some(r.rmse))) {
            let judgement = in_words(ratio.low - 1.0, ratio.high - 1.0);
            say(format!(
                "{method} is {judgement} the best baseline ({name}): RMSE {:.3} against {rmse:.3}, ratio {:.3} [{:.3}, {:.3}]",
                row.rmse, ratio.value, ratio.low, ratio.high
            ));
        }
        if let (Some(auroc), Some(difference), Some((other, name))) = (
            row.auroc,
            row.auroc_difference,
            best(&|r| r.auroc.map(|area| -area)),
        ) {
            let judgement = in_words(-difference.high, -difference.low);
            say(format!(
                "{method} is {judgement} the best baseline ({name}) in telling false zeros: AUROC {auroc:.3} against {:.3}, difference {:+.3} [{:+.3}, {:+.3}]",
                -other, difference.value, difference.low, difference.high
            ));
        }
        if let (Some(rmse), Some(ratio), Some((other, name))) = (
            row.completed_rmse,
            row.completed_ratio,
            best(&|r| r.completed_rmse),
        ) {
            let judgement = in_words(ratio.low - 1.0, ratio.high - 1.0);
            say(format!(
                "the table completed by {method} is {judgement} that of the best baseline ({name}): RMSE of zeros {rmse:.3} against {other:.3}, ratio {:.3} [{:.3}, {:.3}]",
                ratio.value, ratio.low, ratio.high
            ));
        }
        if let Some(depth) = row.depth {
            let other = best(&|r| r.depth.map(|depth| depth.bray_curtis_completed));
            let other = other.map_or(String::new(), |(other, name)| {
                format!("; best baseline ({name}) {other:.4}")
            });
            if row.protocol == "time_point" {
                say(format!(
                    "Bray-Curtis to the hidden visits {:.4} by {method}{other}",
                    depth.bray_curtis_completed
                ));
                continue;
            }
            say(format!(
                "Bray-Curtis to the full depth {:.4} thin, {:.4} completed by {method}, {:.0} % of samples closer{other}",
                depth.bray_curtis_thin,
                depth.bray_curtis_completed,
                100.0 * depth.share_closer
            ));
        }
    }
    verdicts
}

/// An interval of a figure that is better the further it lies below 0.
fn in_words(low: f64, high: f64) -> &'static str {
    match (low, high) {
        (_, high) if high < 0.0 => "better than",
        (low, _) if low > 0.0 => "WORSE than",
        _ => "not told apart from",
    }
}

impl Row {
    /// What was hidden, for people.
    pub fn what(&self) -> String {
        hidden_in_words(&self.protocol, self.mask.as_deref(), self.fraction)
    }
}

/// What a protocol or a mask in its place hides, for people.
pub fn hidden_in_words(protocol: &str, mask: Option<&str>, fraction: f64) -> String {
    let percent = (1e8 * fraction).round() / 1e6; // not 7.000000000000001
    match (mask, protocol) {
        (Some(mask), _) => mask.to_string(),
        (None, "thinning") => format!("{percent} % depth"),
        (None, "detection_limit") => format!("lowest {percent} %"),
        (None, "whole_taxon") => format!("{percent} % of taxa"),
        (None, "whole_sample") => format!("{percent} % of samples"),
        (None, "time_point") => format!("{percent} % of visits"),
        (None, _) => format!("{percent} % hidden"),
    }
}

pub(super) fn is_baseline(name: &str) -> bool {
    name.parse::<Method>().is_ok_and(Method::is_baseline)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::PresenceFigures;
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

    #[test]
    fn folds_without_a_hidden_non_zero_have_no_part_in_the_average_precision() {
        let outcome = |fold: u64, aupr: f64| {
            let presence = PresenceFigures {
                auroc: f64::NAN,
                aupr,
                n_positive: usize::from(!aupr.is_nan()),
                n_negative: 9,
            };
            Outcome {
                presence: Some(presence),
                ..example("knn", fold, 0.5)
            }
        };
        let rows = rows(&[outcome(0, 0.2), outcome(1, f64::NAN), outcome(2, 0.6)]);
        assert!((rows[0].aupr.unwrap() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn presence_is_compared_with_the_best_baseline_by_its_area() {
        let outcome = |method: &str, placed: [f64; 4], completed: f64| {
            let judged = placed.iter().enumerate().map(|(group, placed)| JudgedSums {
                group,
                n_positive: 2.0,
                n_negative: 4.0,
                positive: 2.0 * placed,
                negative: 4.0 * placed,
                squared_error: 6.0 * completed * completed,
                n_compared: 1.0,
                thin: 0.3,
                completed,
                n_closer: f64::from(u8::from(completed < 0.3)),
            });
            Outcome {
                judged: judged.collect(),
                ..example(method, 0, 0.5)
            }
        };
        let rows = rows(&[
            outcome("depmicrodiff", [0.9, 0.86, 0.9, 0.82], 0.2),
            outcome("ridge", [0.8, 0.75, 0.85, 0.7], 0.4),
            outcome("knn", [0.6, 0.6, 0.6, 0.6], 0.25),
        ]);
        let difference = rows[0].auroc_difference.unwrap();
        // Means .87 and .775, of every group between .05 and .12 apart.
        assert!((difference.value - 0.095).abs() < 1e-12);
        assert!(difference.low > 0.0, "{difference:?}");
        assert!((rows[0].completed_ratio.unwrap().value - 0.8).abs() < 1e-12);
        let depth = rows[0].depth.unwrap();
        assert_eq!((depth.n_samples, depth.share_closer), (4, 1.0));
        let said = verdicts(&rows).join("\n");
        for words in [
            "better than the best baseline (ridge) in telling false zeros: AUROC 0.870 against 0.775, difference +0.095",
            "better than that of the best baseline (knn): RMSE of zeros 0.200 against 0.250",
            "0.3000 thin, 0.2000 completed by depmicrodiff, 100 % of samples closer; best baseline (knn) 0.2500",
        ] {
            assert!(said.contains(words), "{said}");
        }
    }
}
