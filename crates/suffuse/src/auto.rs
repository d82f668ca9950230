//! The default method: the diffusion model and classical ones, weighed by how they do on entries that
//! were hidden from all, and calibrated there. `depmicrodiff` by name is the same with ridge regression alone.
//!
//! ```text
//! validation samples of the fit -> hidden copies -> the model fills them (members that saw them are not asked)
//!                                               -> classical methods, fitted on the other samples, fill them
//! least squares -> weight of the model, partner -> calibration of what they say together
//! ```
//!
//! Zeros are judged by several as well, see [`presence`].

pub mod presence;

use crate::Result;
use crate::impute::ln1p_percent;
use crate::method::Method;
use ndarray::{Array2, Axis, concatenate};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use suffuse_data::Table;
use suffuse_data::hide::{HiddenAs, hide_nonzero};
use suffuse_data::transform::{Scale, percent};
use suffuse_model::systems::depmicrodiff::held_out::HeldOutEntry;
use suffuse_model::systems::depmicrodiff::{Cohort, Model, Totals};
use suffuse_stats::Incomplete;
use suffuse_stats::blend::Blend;
use suffuse_stats::calibration::{Calibration, CalibrationEntry};
use suffuse_stats::impute::{Method as Baseline, impute};

/// What was found out on the user's own table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Weight of the model, and calibration of both together.
    pub blend: Blend,
    /// Classical methods and their weights; with that of the model they add up to 1.
    pub partners: Vec<(Baseline, f64)>,
    /// Errors on the hidden entries; `None` where there were none.
    pub errors: Option<Errors>,
}

/// Root mean squared errors in `ln(1 + percent)` on entries that no method had seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Errors {
    /// The model alone.
    pub model: f64,
    /// Each classical method that was tried.
    pub baselines: BTreeMap<String, f64>,
    /// What is used.
    pub chosen: f64,
    /// Entries.
    pub n: usize,
}

/// Where entries were hidden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hidden {
    /// In samples that the model had not learned from.
    #[default]
    InOtherSamples,
    /// In samples of the table that the model was fitted on, from which it had not learned.
    InTheTableLearnedFrom,
    /// Anywhere in the table: a tenth of all values above zero.
    Anywhere,
}

/// Hidden entries of a user's table with what was said of them, in `ln(1 + percent)`: what stands behind a
/// choice. No method had seen them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tested {
    /// Where they were hidden.
    pub hidden: Hidden,
    /// Sample and taxon of each; one may stand here once per hidden copy.
    pub places: Vec<(usize, usize)>,
    /// Truth, value of what is used, and its draws before the last calibration; none for a method that
    /// draws nothing.
    pub said: Vec<CalibrationEntry>,
    /// Value by each method, by its name.
    pub values: BTreeMap<String, Vec<f64>>,
}

impl Tested {
    /// What the model alone says of held-out entries, beside the taxon mean where the table is not too
    /// large for it.
    ///
    /// # Errors
    /// None for a table that was read by this program.
    pub fn of_model(method: Method, cohort: &Cohort, held_out: &[HeldOutEntry]) -> Result<Tested> {
        let n_copies = held_out.iter().map(|e| e.copy + 1).max().unwrap_or(0);
        let judged: Vec<&HeldOutEntry> = held_out.iter().collect();
        let mut values = BTreeMap::new();
        let model: Vec<f64> = judged.iter().map(|entry| entry.said.value).collect();
        let name = match method {
            Method::MbVdit => method.to_string(),
            _ => DIFFUSION.to_string(),
        };
        values.insert(name, model);
        if !is_model_alone(cohort.table.n_samples(), cohort.table.n_features()) {
            let tables = hidden_copies(cohort, &judged, n_copies)?;
            values.insert(FLOOR.to_string(), said_by(FLOOR, &tables, &judged));
        }
        let said = judged.iter().map(|entry| entry.said.clone()).collect();
        Ok(Tested {
            hidden: Hidden::InOtherSamples,
            places: places(&judged),
            said,
            values,
        })
    }

    /// What a classical method says of a tenth of the non-zero entries of a table, beside the taxon mean.
    ///
    /// # Errors
    /// A table without a non-zero entry.
    pub fn of_baseline(table: &Table, baseline: Baseline, seed: u64) -> Result<Tested> {
        let hidden = hide_nonzero(table, TESTED_FRACTION, seed, None)?;
        let entries = hidden.entries.iter();
        let entries: Vec<(usize, usize)> = entries
            .map(|entry| (entry.sample as usize, entry.feature as usize))
            .collect();
        let seen = hidden.apply(table, HiddenAs::NotMeasured)?;
        let totals = seen.totals();
        let incomplete = Incomplete::from_values(ln1p_percent(&seen, &totals))?;
        let mut tested = Tested {
            hidden: Hidden::Anywhere,
            ..Tested::default()
        };
        let mut values = Vec::new();
        for method in [baseline, FLOOR] {
            values.push((method, impute(method, &incomplete)));
        }
        for at in entries.into_iter().filter(|at| totals[at.0] > 0.0) {
            tested.places.push(at);
            tested.said.push(CalibrationEntry {
                truth: percent::ln1p_percent(table.get(at.0, at.1), Scale(totals[at.0])),
                value: values[0].1[at],
                draws: Vec::new(),
            });
        }
        for (method, completed) in values {
            let of_method = tested.places.iter().map(|at| completed[*at]).collect();
            tested.values.insert(method.to_string(), of_method);
        }
        Ok(tested)
    }
}

/// Share of the non-zero entries on which a classical method is tested.
const TESTED_FRACTION: f64 = 0.1;

/// Name of the diffusion model where others have a share beside it.
pub const DIFFUSION: &str = "diffusion";
/// A partner with a smaller share is not worth its time.
const LEAST_SHARE: f64 = 0.03;
/// The floor: what does not beat it is not used.
const FLOOR: Baseline = Baseline::TaxonMean;

/// Entries of a table (samples x features) from which on classical methods see one hidden copy instead of
/// several, and from which on they are left out, since they hold dense tables.
const MANY_ENTRIES: usize = 100_000;
const TOO_MANY_ENTRIES: usize = 10_000_000;
/// Hidden copies of a small table.
const N_COPIES: usize = 4;

/// Says whether a table is too large for a classical partner.
pub fn is_model_alone(n_samples: usize, n_features: usize) -> bool {
    n_samples.saturating_mul(n_features) > TOO_MANY_ENTRIES
}

impl Choice {
    /// The model alone, which is calibrated already.
    pub fn model_alone() -> Choice {
        Choice {
            blend: Blend {
                weight: 1.0,
                slope: 0.0,
                hidden_share: 0.0,
                calibration: None,
            },
            partners: Vec::new(),
            errors: None,
        }
    }

    /// Weighs the partners of a method on what the model says of held-out entries of the cohort it was fitted on,
    /// and says what the choice was made from.
    ///
    /// # Errors
    /// None for a table that was read by this program.
    pub fn weighed(
        method: Method,
        model: &Model,
        cohort: &Cohort,
        held_out: &[HeldOutEntry],
    ) -> Result<(Choice, Tested)> {
        let (own, partners) = (model.calibration(), method.partners(model.config()));
        let n_entries = cohort.table.n_samples() * cohort.table.n_features();
        if held_out.is_empty() || partners.is_empty() || n_entries > TOO_MANY_ENTRIES {
            let tested = Tested::of_model(method, cohort, held_out)?;
            return Ok((Choice::model_alone(), tested));
        }
        let n_copies = match n_entries > MANY_ENTRIES {
            true => 1,
            false => N_COPIES,
        };
        let judged: Vec<&HeldOutEntry> = held_out
            .iter()
            .filter(|entry| entry.copy < n_copies)
            .collect();
        let tables = hidden_copies(cohort, &judged, n_copies)?;
        let mut values = BTreeMap::new();
        let truth: Vec<f64> = judged.iter().map(|entry| entry.said.truth).collect();
        let model: Vec<f64> = judged.iter().map(|entry| entry.said.value).collect();
        let mut distinct: Vec<(usize, usize)> = judged
            .iter()
            .map(|entry| (entry.sample, entry.taxon))
            .collect();
        distinct.sort_unstable();
        distinct.dedup();
        let mut baselines = BTreeMap::new();
        let mut others: Vec<(Baseline, Vec<f64>)> = Vec::new();
        for partner in partners.iter().copied() {
            let other = said_by(partner, &tables, &judged);
            values.insert(partner.to_string(), other.clone());
            baselines.insert(partner.to_string(), rmse(&truth, &other));
            others.push((partner, other));
        }
        let model_error = rmse(&truth, &model);
        values.insert(DIFFUSION.to_string(), model.clone());
        let (mut partners, mixture) = mixture(&truth, &model, others, distinct.len());
        let all: f64 = partners.iter().map(|(_, share)| share).sum();
        let hidden_shares: Vec<f64> = judged.iter().map(|entry| entry.hidden_share).collect();
        let mut blend = Blend::changing(
            1.0 - all,
            &truth,
            [&model, &mixture],
            &hidden_shares,
            distinct.len(),
        );
        let mut together: Vec<f64> = (0..model.len())
            .map(|k| blend.value(model[k], mixture[k], hidden_shares[k]))
            .collect();
        let mut error = rmse(&truth, &together);
        let floor = said_by(FLOOR, &tables, &judged);
        values.insert(FLOOR.to_string(), floor.clone());
        let floor_error = rmse(&truth, &floor);
        baselines.insert(FLOOR.to_string(), floor_error);
        if method == Method::Auto && error >= floor_error {
            (blend.weight, blend.slope, partners) = (0.0, 0.0, vec![(FLOOR, 1.0)]);
            (together, error) = (floor, floor_error);
        }
        let said: Vec<CalibrationEntry> = judged
            .iter()
            .zip(&together)
            .map(|(entry, value)| CalibrationEntry {
                truth: entry.said.truth,
                value: *value,
                draws: {
                    let CalibrationEntry {
                        draws, value: from, ..
                    } = &entry.said;
                    let draws = own.map_or(draws.clone(), |own| own.draws(draws, *from));
                    moved(&draws, *from, *value)
                },
            })
            .collect();
        let choice = Choice {
            blend: Blend {
                calibration: Calibration::fit(&said),
                ..blend
            },
            partners,
            errors: Some(Errors {
                model: model_error,
                baselines,
                chosen: error,
                n: judged.len(),
            }),
        };
        values.insert(method.to_string(), together);
        let tested = Tested {
            hidden: Hidden::InOtherSamples,
            places: places(&judged),
            said,
            values,
        };
        Ok((choice, tested))
    }

    /// Says whether a classical method has a say: weight, or calibration together with the model.
    pub fn has_partner(&self) -> bool {
        self.errors.is_some()
    }

    /// Says whether nothing was better than the mean of each taxon.
    pub fn is_floor(&self) -> bool {
        self.partners == [(FLOOR, 1.0)]
    }

    /// What was chosen, in words.
    pub fn in_words(&self) -> String {
        let Some(errors) = &self.errors else {
            return "the model alone: nothing was held out to weigh it on".to_string();
        };
        let (n, floor) = (errors.n, errors.baselines[FLOOR.name()]);
        if self.is_floor() {
            return format!(
                "nothing beats the mean of each taxon here (RMSE {floor:.3} on {n} hidden entries, the model {:.3}): filled with that",
                errors.model
            );
        }
        let mut shares = vec![format!("{:.0} % {DIFFUSION}", 100.0 * self.blend.weight)];
        let mut alone = vec![format!("{DIFFUSION} {:.3}", errors.model)];
        for (partner, share) in &self.partners {
            shares.push(format!("{:.0} % {partner}", 100.0 * share));
            alone.push(format!("{partner} {:.3}", errors.baselines[partner.name()]));
        }
        format!(
            "{}: RMSE {:.3} on {n} hidden entries (alone: {}, taxon mean {floor:.3})",
            shares.join(", "),
            errors.chosen,
            alone.join(", ")
        )
    }

    /// `ln(1 + percent)` by the partners together of a table with hidden entries, `NaN` nowhere.
    pub fn partners_fill(&self, table: &Incomplete) -> Array2<f64> {
        let all: f64 = self.partners.iter().map(|(_, share)| share).sum();
        let mut sum = Array2::zeros((table.n_samples(), table.n_taxa()));
        for (partner, share) in &self.partners {
            sum.scaled_add(share / all, &impute(*partner, table));
        }
        sum
    }

    /// `ln(1 + percent)` given presence of these entries (sample, feature) by the partners, to which they and
    /// all that is not measured are hidden.
    ///
    /// - `learned`: other samples to learn from
    pub fn partners_predict(
        &self,
        learned: Option<&Table>,
        table: &Table,
        entries: &[(u32, u32)],
    ) -> Vec<f64> {
        let first = learned.map_or(0, Table::n_samples);
        let places = entries
            .iter()
            .map(|(sample, feature)| (first + *sample as usize, *feature as usize));
        self.partners_predict_in(logs_below(learned, table), &places.collect::<Vec<_>>())
    }

    /// The same of these places in `ln(1 + percent)`, `NaN` where not measured.
    pub fn partners_predict_in(
        &self,
        mut logs: Array2<f64>,
        places: &[(usize, usize)],
    ) -> Vec<f64> {
        if self.partners.is_empty() {
            return vec![0.0; places.len()]; // has no weight
        }
        for at in places {
            logs[*at] = f64::NAN;
        }
        let incomplete = Incomplete::from_values(logs).expect("abundances are not negative");
        let completed = self.partners_fill(&incomplete);
        places.iter().map(|at| completed[*at]).collect()
    }
}

/// The partners that are worth their time with their shares, and what they say together: where there is none, what
/// the model says.
fn mixture(
    truth: &[f64],
    model: &[f64],
    mut others: Vec<(Baseline, Vec<f64>)>,
    n_distinct: usize,
) -> (Vec<(Baseline, f64)>, Vec<f64>) {
    let shares = loop {
        let said: Vec<&[f64]> = others.iter().map(|(_, other)| &other[..]).collect();
        let shares = Blend::shares(truth, model, &said, n_distinct);
        let least = (0..shares.len()).min_by(|k, l| shares[*k].total_cmp(&shares[*l]));
        match least {
            Some(k) if shares[k] < LEAST_SHARE => drop(others.remove(k)),
            _ => break shares,
        }
    };
    let all: f64 = shares.iter().sum();
    let mut mixture = match others.is_empty() {
        true => model.to_vec(),
        false => vec![0.0; model.len()],
    };
    for ((_, other), share) in others.iter().zip(&shares) {
        for (sum, value) in mixture.iter_mut().zip(other) {
            *sum += share / all * value;
        }
    }
    let partners = others.into_iter().map(|(partner, _)| partner);
    (partners.zip(shares).collect(), mixture)
}

/// `ln(1 + percent)` of a table, below that of the samples that are learned from beside it.
fn logs_below(learned: Option<&Table>, table: &Table) -> Array2<f64> {
    let logs = ln1p_percent(table, &table.totals());
    let Some(learned) = learned else {
        return logs;
    };
    let above = ln1p_percent(learned, &learned.totals());
    concatenate(Axis(0), &[above.view(), logs.view()]).expect("both have the features of the model")
}

fn moved(draws: &[f64], from: f64, to: f64) -> Vec<f64> {
    draws.iter().map(|draw| draw + to - from).collect()
}

fn rmse(truth: &[f64], value: &[f64]) -> f64 {
    let square: f64 = truth.iter().zip(value).map(|(t, v)| (t - v).powi(2)).sum();
    (square / truth.len() as f64).sqrt()
}

fn places(judged: &[&HeldOutEntry]) -> Vec<(usize, usize)> {
    let place = |entry: &&HeldOutEntry| (entry.sample, entry.taxon);
    judged.iter().map(place).collect()
}

/// What a classical method says of each entry in the table of its copy.
fn said_by(baseline: Baseline, tables: &[Incomplete], judged: &[&HeldOutEntry]) -> Vec<f64> {
    let completed: Vec<Array2<f64>> = tables.iter().map(|table| impute(baseline, table)).collect();
    let value = |entry: &&HeldOutEntry| completed[entry.copy][[entry.sample, entry.taxon]];
    judged.iter().map(value).collect()
}

fn hidden_copies(
    cohort: &Cohort,
    judged: &[&HeldOutEntry],
    n_copies: usize,
) -> Result<Vec<Incomplete>> {
    (0..n_copies)
        .map(|copy| {
            let of_copy = judged.iter().copied().filter(|entry| entry.copy == copy);
            hidden_copy(cohort, &of_copy.collect::<Vec<_>>())
        })
        .collect()
}

/// The cohort with the entries of one copy hidden, as classical methods see it.
fn hidden_copy(cohort: &Cohort, entries: &[&HeldOutEntry]) -> Result<Incomplete> {
    let places = entries.iter().map(|entry| (entry.sample, entry.taxon));
    let withheld = cohort.hidden.iter();
    let withheld = withheld.map(|(sample, taxon)| (*sample as usize, *taxon as usize));
    let hidden: BTreeSet<(usize, usize)> = places.chain(withheld).collect();
    let table = cohort.table;
    let left = |sample: usize| -> f64 {
        let (columns, values) = table.row(sample);
        let in_sight = columns.iter().zip(values).filter(|(column, value)| {
            !value.is_nan() && !hidden.contains(&(sample, **column as usize))
        });
        in_sight.map(|(_, value)| value).sum()
    };
    let totals = match &cohort.totals {
        Totals::Given(totals) => totals.clone(),
        Totals::OfWhatIsLeft => (0..table.n_samples()).map(left).collect(),
    };
    let mut logs = ln1p_percent(table, &totals);
    for at in hidden {
        logs[at] = f64::NAN;
    }
    Ok(Incomplete::from_values(logs)?)
}
