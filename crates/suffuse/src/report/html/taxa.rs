//! Quality per taxon, and which taxa not to trust.

use super::gathered::Gathered;
use super::svg::{Axis, Chart};
use super::{Tile, thousands};
use crate::auto::Tested;
use crate::evaluate::outcome::Outcome;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use suffuse_data::Table;
use suffuse_data::taxonomy::own_names;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_stats::impute::Method as Baseline;
use suffuse_stats::scores::quantile;

/// Fewest observed values of a taxon that is trusted.
pub(super) const MIN_OBSERVED: usize = 10;
/// Fewest hidden entries of a taxon from which it is judged.
pub(super) const MIN_TESTED: usize = 5;

/// What is known of a taxon.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taxon {
    pub(super) id: String,
    /// Short name.
    pub(super) name: String,
    /// Measured values above zero.
    pub(super) n_observed: usize,
    pub(super) n_filled: usize,
    /// Hidden entries, each counted once however often it was hidden.
    pub(super) n_tested: usize,
    /// Root mean squared error of what is used there, `ln(1 + percent)`; `NaN` without any.
    pub(super) rmse: f64,
    /// That of the taxon's mean on the same entries.
    pub(super) mean_rmse: f64,
    /// Mean width of the 90 % intervals of filled entries, `ln(1 + percent)`; `NaN` without any.
    pub(super) width: f64,
    /// From the 5 % to the 95 % quantile of the observed values, `ln(1 + percent)`; `NaN` without any.
    pub(super) spread: f64,
}

/// What to make of the values filled in for a taxon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Trust {
    /// A reason speaks against it.
    No,
    /// Too few hidden entries to say.
    Untested,
    /// Nothing speaks against it.
    Yes,
}

/// Squared errors of a taxon on hidden entries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Errors {
    n: usize,
    /// Of them, different entries.
    n_different: usize,
    used: f64,
    mean: f64,
}

/// The rule, as the page states it.
pub(super) fn rule() -> String {
    format!(
        "A taxon is not to be trusted if one of these holds: fewer than {MIN_OBSERVED} samples have a measured value above zero; on at least {MIN_TESTED} hidden entries the error is not smaller than that of the taxon's own average; or the 90 % intervals of its filled entries are on average wider than the span of its measured values (5 % to 95 % quantile). With fewer than {MIN_TESTED} hidden entries a taxon counts as not tested."
    )
}

impl Taxon {
    /// Why not to trust it; empty where nothing speaks against it.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.n_observed < MIN_OBSERVED {
            reasons.push(match self.n_observed {
                0 => "never measured above zero".to_string(),
                1 => "measured in 1 sample only".to_string(),
                n => format!("measured in {n} samples only"),
            });
        }
        if self.n_tested >= MIN_TESTED && self.rmse >= self.mean_rmse {
            reasons.push("no better than its average".to_string());
        }
        if self.width > self.spread {
            reasons.push("interval wider than its own span".to_string());
        }
        reasons
    }

    pub(super) fn trust(&self) -> Trust {
        match (self.reasons().is_empty(), self.n_tested >= MIN_TESTED) {
            (false, _) => Trust::No,
            (true, false) => Trust::Untested,
            (true, true) => Trust::Yes,
        }
    }
}

/// Squared errors by taxon position on hidden entries.
pub(super) fn errors_of(tested: &Tested) -> BTreeMap<usize, Errors> {
    let mut errors: BTreeMap<usize, Errors> = BTreeMap::new();
    let mut seen: BTreeSet<(usize, usize)> = BTreeSet::new();
    let Some(means) = tested.values.get(Baseline::TaxonMean.name()) else {
        return errors;
    };
    for ((said, (sample, taxon)), mean) in tested.said.iter().zip(&tested.places).zip(means) {
        let sums = errors.entry(*taxon).or_default();
        sums.n += 1;
        sums.n_different += usize::from(seen.insert((*sample, *taxon)));
        sums.used += (said.value - said.truth).powi(2);
        sums.mean += (mean - said.truth).powi(2);
    }
    errors
}

/// Squared errors by taxon position, of a method of an evaluation and of the taxon mean.
pub(super) fn errors_in(
    table: &Table,
    outcomes: &[&Outcome],
    method: &str,
) -> BTreeMap<usize, Errors> {
    let position: BTreeMap<&str, usize> = table
        .feature_ids()
        .iter()
        .enumerate()
        .map(|(position, id)| (id.as_str(), position))
        .collect();
    let squares = |name: &str| {
        let mut sums: BTreeMap<usize, (usize, f64)> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|o| o.key.method == name) {
            for taxon in &outcome.taxa {
                if let Some(at) = position.get(taxon.id.as_str()) {
                    let (n, square) = sums.entry(*at).or_default();
                    *n += taxon.figures.n;
                    *square += taxon.figures.n as f64 * taxon.figures.rmse.powi(2);
                }
            }
        }
        sums
    };
    let means = squares(Baseline::TaxonMean.name());
    squares(method)
        .into_iter()
        .filter_map(|(taxon, (n, used))| {
            let (n_mean, mean) = *means.get(&taxon)?;
            (n == n_mean).then_some((
                taxon,
                Errors {
                    n,
                    n_different: n,
                    used,
                    mean,
                },
            ))
        })
        .collect()
}

/// All taxa of a table, those not to trust first, then by falling error relative to the average's.
pub(super) fn taxa(
    table: &Table,
    errors: &BTreeMap<usize, Errors>,
    gathered: Option<&Gathered>,
) -> Vec<Taxon> {
    let totals = table.totals();
    let mut observed: Vec<Vec<f64>> = vec![Vec::new(); table.n_features()];
    for (sample, total) in totals.iter().enumerate() {
        let (columns, values) = table.row(sample);
        for (column, value) in columns.iter().zip(values) {
            if *value > 0.0 {
                observed[*column as usize].push(ln1p_percent(*value, Scale(*total)));
            }
        }
    }
    let names = own_names(table);
    let mut taxa: Vec<Taxon> = table
        .feature_ids()
        .iter()
        .zip(names)
        .zip(observed)
        .enumerate()
        .map(|(position, ((id, name), mut values))| {
            values.sort_by(f64::total_cmp);
            let spread = match values.is_empty() {
                true => f64::NAN,
                false => quantile(&values, 0.95) - quantile(&values, 0.05),
            };
            let sums = errors.get(&position).copied().unwrap_or_default();
            let rmse = |square: f64| (square / sums.n as f64).sqrt();
            Taxon {
                id: id.clone(),
                name: if name.is_empty() { id.clone() } else { name },
                n_observed: values.len(),
                n_filled: gathered.map_or(0, |gathered| gathered.n_filled[position]),
                n_tested: sums.n_different,
                rmse: rmse(sums.used),
                mean_rmse: rmse(sums.mean),
                width: gathered.map_or(f64::NAN, |gathered| gathered.mean_width(position)),
                spread,
            }
        })
        .collect();
    let ratio = |taxon: &Taxon| match taxon.rmse / taxon.mean_rmse {
        ratio if ratio.is_nan() => f64::NEG_INFINITY,
        ratio => ratio,
    };
    taxa.sort_by(|a, b| {
        let by_trust = a.trust().cmp(&b.trust());
        by_trust.then(ratio(b).total_cmp(&ratio(a)))
    });
    taxa
}

/// How many taxa not to trust; of how many were tested at all, where none is known to be bad.
pub(super) fn tile(taxa: &[Taxon]) -> Tile {
    let n_of = |trust: Trust| taxa.iter().filter(|taxon| taxon.trust() == trust).count();
    let (n_bad, n_untested) = (n_of(Trust::No), n_of(Trust::Untested));
    let of_all = |n: usize| format!("{} of {}", thousands(n), thousands(taxa.len()));
    match (n_bad, n_untested) {
        (0, 0) => Tile {
            value: of_all(0),
            label: "taxa not to trust".to_string(),
            tone: "good",
        },
        (0, n_untested) => Tile {
            value: of_all(n_untested),
            label: "taxa not tested".to_string(),
            tone: "",
        },
        (n_bad, 0) => Tile {
            value: of_all(n_bad),
            label: "taxa not to trust".to_string(),
            tone: "bad",
        },
        (n_bad, n_untested) => Tile {
            value: of_all(n_bad),
            label: format!(
                "taxa not to trust, and {} not tested",
                thousands(n_untested)
            ),
            tone: "bad",
        },
    }
}

/// Error of what is used against that of the taxon mean, a mark per tested taxon; `None` without one.
pub(super) fn chart(taxa: &[Taxon]) -> Option<String> {
    let tested: Vec<&Taxon> = taxa
        .iter()
        .filter(|taxon| taxon.n_tested >= MIN_TESTED && !taxon.rmse.is_nan())
        .collect();
    let values = |taxon: &&Taxon| [taxon.rmse, taxon.mean_rmse];
    let most = tested.iter().flat_map(values).fold(0.0, f64::max);
    if tested.is_empty() {
        return None;
    }
    let axis = |name: &str| Axis::from_zero(name, most);
    let (x, y) = (
        axis("error of the taxon's average"),
        axis("error of what is used"),
    );
    let end = x.range.1;
    let mut chart = Chart::new(x, y, (420.0, 360.0));
    chart.line("reference", &[(0.0, 0.0), (end, end)]);
    // Those not to trust last, so that they lie on top.
    for taxon in tested.iter().rev() {
        let at = (taxon.mean_rmse, taxon.rmse);
        let name = format!(
            "{}: {:.2}, its average {:.2} ({} hidden entries)",
            taxon.name, taxon.rmse, taxon.mean_rmse, taxon.n_tested
        );
        match taxon.trust() {
            Trust::No => chart.square("bad", at, 4.0, &name),
            Trust::Yes | Trust::Untested => chart.circle("dot", at, 3.5, &name),
        }
    }
    let better = tested.iter().filter(|t| t.rmse < t.mean_rmse).count();
    Some(chart.finish(
        "taxa-errors",
        "Error of each taxon",
        &format!(
            "A mark per taxon; below the diagonal what is used is better than the taxon's average, which is so for {better} of {} tested taxa. Squares are taxa not to trust.",
            tested.len()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taxon() -> Taxon {
        Taxon {
            id: "t".into(),
            name: "t".into(),
            n_observed: 50,
            n_filled: 3,
            n_tested: 8,
            rmse: 0.3,
            mean_rmse: 0.5,
            width: 1.0,
            spread: 2.0,
        }
    }

    #[test]
    fn each_part_of_the_rule_alone_takes_trust_away() {
        assert_eq!(taxon().trust(), Trust::Yes);
        type Change = (fn(&mut Taxon), &'static str);
        let changes: [Change; 3] = [
            (|t| t.n_observed = MIN_OBSERVED - 1, "measured in 9 samples"),
            (|t| t.rmse = t.mean_rmse, "no better than its average"),
            (|t| t.width = 2.1, "wider than its own span"),
        ];
        for (change, reason) in changes {
            let mut changed = taxon();
            change(&mut changed);
            assert_eq!(changed.trust(), Trust::No, "{reason}");
            assert!(changed.reasons()[0].contains(reason));
        }
        let untested = Taxon {
            n_tested: MIN_TESTED - 1,
            rmse: 9.0,
            width: f64::NAN,
            ..taxon()
        };
        assert_eq!(untested.trust(), Trust::Untested);
    }

    #[test]
    fn no_taxon_tested_is_no_taxon_trusted() {
        let untested = Taxon {
            n_tested: 0,
            ..taxon()
        };
        let bad = Taxon {
            n_observed: 0,
            ..taxon()
        };
        let said = |taxa: &[Taxon]| {
            let tile = tile(taxa);
            (tile.value, tile.label, tile.tone)
        };
        let words = |value: &str, label: &str, tone| (value.to_string(), label.to_string(), tone);
        assert_eq!(
            said(&[taxon(), taxon()]),
            words("0 of 2", "taxa not to trust", "good")
        );
        assert_eq!(
            said(&[untested.clone(), untested.clone()]),
            words("2 of 2", "taxa not tested", "")
        );
        assert_eq!(
            said(&[bad.clone(), taxon()]),
            words("1 of 2", "taxa not to trust", "bad")
        );
        assert_eq!(
            said(&[bad, untested, taxon()]),
            words("1 of 3", "taxa not to trust, and 1 not tested", "bad")
        );
    }

    #[test]
    fn errors_are_pooled_by_taxon_and_doubtful_ones_come_first() {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let dense: Vec<f64> = (0..40).map(|k| f64::from(k % 7 + 1)).collect();
        let table = Table::from_dense(names("s", 20), names("t", 2), &dense).unwrap();
        let mut tested = Tested::default();
        let mut mean = Vec::new();
        for sample in 0..5 {
            for (taxon, error) in [(0, 0.1), (1, 0.9)] {
                tested.places.push((sample, taxon));
                tested
                    .said
                    .push(suffuse_stats::calibration::CalibrationEntry {
                        truth: 1.0,
                        value: 1.0 + error,
                        draws: Vec::new(),
                    });
                mean.push(1.5);
            }
        }
        tested.values.insert("taxon-mean".into(), mean);
        let taxa = taxa(&table, &errors_of(&tested), None);
        assert_eq!((taxa[0].id.as_str(), taxa[0].trust()), ("t1", Trust::No));
        assert!((taxa[0].rmse - 0.9).abs() < 1e-12 && (taxa[1].mean_rmse - 0.5).abs() < 1e-12);
        let svg = chart(&taxa).unwrap();
        assert!(svg.contains("1 of 2 tested taxa"));
        assert_eq!(chart(&[]), None);
    }
}
