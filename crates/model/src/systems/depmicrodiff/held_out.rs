//! What a fitted model says of entries of its own table that it was not fitted on: what calibration and
//! comparison with other methods need.

use super::Model;
use super::batch::Flag;
use super::entries::{Cohort, Entries, Known};
use super::fit::validation_samples;
use super::guide_fit::folds;
use super::neighbours::PassedOver;
use super::objective::Hidden;
use super::sampling::{Drawn, Job, Plan, Run};
use crate::device::Device;
use crate::error::Result;
use crate::rng::{Stage, generator};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;
use std::sync::atomic::AtomicBool;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_stats::blend::Blend;
use suffuse_stats::calibration::{Calibration, CalibrationEntry, LEVELS};
use suffuse_stats::scores::predictive_interval;

/// An entry that was hidden from a model which had not seen its sample.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOutEntry {
    /// Number of the hidden copy of the sample.
    pub copy: usize,
    /// Row.
    pub sample: usize,
    /// Column.
    pub taxon: usize,
    /// Share of the present entries of the sample that was hidden.
    pub hidden_share: f64,
    /// Truth, value and draws, ln(1+percent) of the total of what was left in sight.
    pub said: CalibrationEntry,
    /// What the guide and the network expect, in the same unit.
    expectations: Expectations,
}

/// What is expected of an entry, in ln(1+percent).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expectations {
    /// By the guide; without one, mean and offset.
    pub(super) guess: f64,
    /// By the network before it has seen any of the noise.
    pub(super) network: f64,
    /// By the samples around alone, where nothing of the sample itself is in sight.
    pub(super) local: Option<f64>,
}

/// Rows (sample, copy) that are filled at most: enough for intervals, seconds to fill.
const MAX_ROWS: usize = 600;

/// Separates the noise of these draws from that of filling.
const DRAWS: u64 = 1 << 33;
/// Separates the noise of whole samples from both.
const WHOLE_DRAWS: u64 = 1 << 34;

/// How much of a sample is in sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InSight {
    /// Some entries.
    Some,
    /// Nothing; others of its subject may be.
    Nothing,
}

impl InSight {
    /// - `present`: what is present and in sight
    pub(super) fn of<T>(present: &[T]) -> Self {
        match present.is_empty() {
            true => InSight::Nothing,
            false => InSight::Some,
        }
    }
}

/// How far guide and network are trusted where nothing of a sample is in sight, and how draws are calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WholeSamples {
    /// Weight of the network against the guide.
    pub(super) trust: f64,
    /// Weight of the mean of the samples around against both: for taxa that make less than a percent there,
    /// and for the others, which decide how alike two compositions are.
    pub(super) local: [f64; 2],
    pub(super) calibration: Option<Calibration>,
}

impl Model {
    /// Hides known non-zeros of the validation samples, `calibration.n_copies` times at the rates of
    /// training, and fills them. The members of the guide that have seen a sample are not asked. Empty
    /// where nothing was held out.
    ///
    /// - `cohort`: the one that the model was fitted on, with the same groups
    ///
    /// # Errors
    /// An interruption.
    pub fn held_out_entries(
        &self,
        cohort: &Cohort,
        device: &Device,
        interrupted: &AtomicBool,
    ) -> Result<Vec<HeldOutEntry>> {
        self.held_out(cohort, InSight::Some, device, interrupted)
    }

    /// As [`Model::held_out_entries`]; with nothing in sight, whole samples are hidden in cohorts with times.
    fn held_out(
        &self,
        cohort: &Cohort,
        in_sight: InSight,
        device: &Device,
        interrupted: &AtomicBool,
    ) -> Result<Vec<HeldOutEntry>> {
        let entries = self.entries(cohort)?;
        let config = &self.config;
        let samples = validation_samples(config, &entries, cohort.groups.as_deref(), self.seed);
        let fold_of = folds(
            entries.n_samples(),
            cohort.groups.as_deref(),
            config.guide.n_folds(),
            self.seed,
        );
        let run = Run {
            entries: &entries,
            conditions: cohort.conditions.as_ref(),
            sampler: config.sampling.sampler,
            seed: self.seed,
            device,
            interrupted,
        };
        let n_draws = config.sampling.n_draws.max(2);
        let (mut places, mut jobs) = (Vec::new(), Vec::new());
        let n_copies = match in_sight {
            InSight::Some => config.calibration.n_copies,
            InSight::Nothing => config.calibration.n_copies.min(1), // they would all be alike
        };
        let in_turn =
            (0..n_copies).flat_map(|copy| samples.iter().map(move |sample| (copy, *sample)));
        for (copy, sample) in in_turn.take(MAX_ROWS) {
            let id = entries.sample_id(sample);
            let known = entries.known_row(sample);
            let hidden = match in_sight {
                InSight::Some => self.hide_some(&known, id, copy),
                InSight::Nothing => hide_all(&known),
            };
            let is_of_use = match in_sight {
                // Else nothing is left to take a share of.
                InSight::Some => hidden.flags.contains(&Flag::Present),
                InSight::Nothing => entries.around(sample, hidden.passed_over).is_some(),
            };
            if !is_of_use {
                continue;
            }
            let flags = &hidden.flags;
            let is_asked = |taxon: &usize| {
                flags[*taxon] == Flag::HiddenPresent && known[*taxon] == Known::Present
            };
            let asked: Vec<usize> = (0..flags.len()).filter(is_asked).collect();
            let first = match in_sight {
                InSight::Some => DRAWS + (copy * n_draws) as u64,
                InSight::Nothing => WHOLE_DRAWS + (copy * n_draws) as u64,
            };
            jobs.extend((0..n_draws as u64).map(|draw| Job {
                sample,
                flags: hidden.flags.clone(),
                draw: first + draw,
                fold: Some(fold_of[sample]),
                passed_over: hidden.passed_over,
            }));
            places.push((copy, sample, asked));
        }
        let plan = Plan::new(self, &run)?;
        let drawn = self.sample(&run, &plan, &jobs)?;
        let mut found = Vec::new();
        for (row, (copy, sample, asked)) in places.into_iter().enumerate() {
            let drawn = &drawn[row * n_draws..(row + 1) * n_draws];
            let flags = &jobs[row * n_draws].flags;
            let hidden: Vec<bool> = flags.iter().map(|flag| !flag.is_observed()).collect();
            let total = Scale(entries.hundred_percent(sample, &hidden));
            let abundance = entries.abundance_row(sample);
            let local = self.local(&entries, sample, in_sight);
            let n_in_sight = flags.iter().filter(|f| **f == Flag::Present).count();
            let hidden_share = asked.len() as f64 / (asked.len() + n_in_sight) as f64;
            for taxon in asked {
                let draws: Vec<f64> = drawn.iter().map(|d| d.abundance[taxon]).collect();
                let expectations = Expectations::over(drawn, taxon, local.as_deref());
                let (value, draws) = self.centred(draws, &expectations, in_sight);
                found.push(HeldOutEntry {
                    expectations,
                    copy,
                    sample,
                    taxon,
                    hidden_share,
                    said: CalibrationEntry {
                        truth: ln1p_percent(abundance[taxon], total),
                        value,
                        draws,
                    },
                });
            }
        }
        Ok(found)
    }

    /// Hides non-zeros at a random rate, flagged as present.
    fn hide_some(&self, known: &[Known], id: &str, copy: usize) -> Hidden {
        let mut rng = generator(self.seed, Stage::Validation, id, copy as u64);
        let rate = rng.random_range(self.config.hiding.least..=self.config.hiding.most);
        let flag = |known: &Known| match (known, rng.random_bool(rate)) {
            (Known::Present, true) => Flag::HiddenPresent,
            (known, _) => Flag::of(*known),
        };
        Hidden {
            flags: known.iter().map(flag).collect(),
            passed_over: PassedOver::default(),
        }
    }

    /// Central 50 % and 90 % intervals around a value from its draws as they come out of filling, in
    /// ln(1+percent).
    pub fn intervals(&self, draws: &[f64], value: f64) -> [(f64, f64); 2] {
        self.intervals_with(draws, value, InSight::Some)
    }

    /// The same with more or less of the sample in sight.
    pub(super) fn intervals_with(
        &self,
        draws: &[f64],
        value: f64,
        in_sight: InSight,
    ) -> [(f64, f64); 2] {
        match self.calibration_of(in_sight) {
            Some(calibration) => calibration.intervals(draws, value),
            None => LEVELS.map(|level| predictive_interval(draws, level)),
        }
    }

    /// How draws are stretched.
    pub(super) fn calibration_of(&self, in_sight: InSight) -> Option<&Calibration> {
        match (in_sight, &self.whole_samples) {
            (InSight::Nothing, Some(whole)) => whole.calibration.as_ref(),
            _ => self.calibration.as_ref(),
        }
    }

    /// Calibrates the model on its validation samples.
    pub(super) fn calibrate(
        &mut self,
        cohort: &Cohort,
        device: &Device,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        if self.config.calibration.n_copies == 0 {
            return Ok(());
        }
        let entries = self.held_out(cohort, InSight::Some, device, interrupted)?;
        if let Some(trust) = self.trust_by(&entries) {
            self.trust = trust;
        }
        self.calibration = self.calibration_by(entries, InSight::Some);
        if self.rhythm.is_some() {
            let entries = self.held_out(cohort, InSight::Nothing, device, interrupted)?;
            if !entries.is_empty() {
                let trust = self.trust_by(&entries).unwrap_or(self.trust);
                self.whole_samples = Some(WholeSamples {
                    trust,
                    local: local_by(&entries, trust),
                    calibration: None,
                });
                let calibration = self.calibration_by(entries, InSight::Nothing);
                if let Some(whole_samples) = &mut self.whole_samples {
                    whole_samples.calibration = calibration;
                }
            }
        }
        Ok(())
    }

    /// The weight of the network that fits held-out entries best; `None` without a guide or entries.
    fn trust_by(&self, entries: &[HeldOutEntry]) -> Option<f64> {
        if self.guide.is_none() || entries.is_empty() {
            return None;
        }
        let column =
            |of: fn(&HeldOutEntry) -> f64| -> Vec<f64> { entries.iter().map(of).collect() };
        Some(Blend::least_squares(
            &column(|entry| entry.said.truth),
            &column(|entry| entry.expectations.network),
            &column(|entry| entry.expectations.guess),
            n_distinct(entries.iter()),
        ))
    }

    fn calibration_by(&self, entries: Vec<HeldOutEntry>, in_sight: InSight) -> Option<Calibration> {
        let said: Vec<CalibrationEntry> = entries
            .into_iter()
            .map(|entry| {
                let CalibrationEntry { truth, draws, .. } = entry.said;
                let (value, draws) = self.centred(draws, &entry.expectations, in_sight);
                CalibrationEntry {
                    truth,
                    value,
                    draws,
                }
            })
            .collect();
        Calibration::fit(&said)
    }
}

/// From which ln(1+percent) on a taxon makes a percent or more.
const A_PERCENT: f64 = LN_2;

/// Position in [`WholeSamples::local`] of a taxon for which the samples around say this.
fn class_of(local: f64) -> usize {
    usize::from(local >= A_PERCENT)
}

/// The weights of the samples around that fit held-out entries best, as in [`WholeSamples::local`].
fn local_by(entries: &[HeldOutEntry], trust: f64) -> [f64; 2] {
    [0, 1].map(|class| {
        let told: Vec<(&HeldOutEntry, f64)> = entries
            .iter()
            .filter_map(|entry| Some((entry, entry.expectations.local?)))
            .filter(|(_, local)| class_of(*local) == class)
            .collect();
        let truth: Vec<f64> = told.iter().map(|(entry, _)| entry.said.truth).collect();
        let own: Vec<f64> = told
            .iter()
            .map(|(entry, _)| entry.expectations.by_model(trust))
            .collect();
        let local: Vec<f64> = told.iter().map(|(_, local)| *local).collect();
        let n = n_distinct(told.iter().map(|(entry, _)| *entry));
        1.0 - Blend::least_squares(&truth, &own, &local, n)
    })
}

/// Entries without their copies.
fn n_distinct<'a>(entries: impl Iterator<Item = &'a HeldOutEntry>) -> usize {
    let mut distinct: Vec<(usize, usize)> =
        entries.map(|entry| (entry.sample, entry.taxon)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len()
}

/// Hides everything, present taxa flagged as such: as filling does once it has judged presence.
fn hide_all(known: &[Known]) -> Hidden {
    let flag = |known: &Known| match known {
        Known::Present | Known::Withheld => Flag::HiddenPresent,
        Known::Absent | Known::Unknown => Flag::Hidden,
    };
    Hidden {
        flags: known.iter().map(flag).collect(),
        passed_over: PassedOver::default(),
    }
}

impl Expectations {
    /// Means over draws of what is expected of a taxon.
    ///
    /// - `local`: what the samples around say, per taxon
    pub(super) fn over(drawn: &[Drawn], taxon: usize, local: Option<&[f64]>) -> Expectations {
        let n = drawn.len() as f64;
        Expectations {
            guess: drawn.iter().map(|d| d.guess[taxon]).sum::<f64>() / n,
            network: drawn.iter().map(|d| d.expected[taxon]).sum::<f64>() / n,
            local: local.map(|local| local[taxon]),
        }
    }

    /// Between guide and network.
    fn by_model(&self, trust: f64) -> f64 {
        self.guess + trust * (self.network - self.guess)
    }
}

impl Model {
    /// ln(1+percent) given presence by the samples around one of which nothing is in sight, per taxon.
    pub(super) fn local(
        &self,
        entries: &Entries,
        sample: usize,
        in_sight: InSight,
    ) -> Option<Vec<f64>> {
        let around = entries.around(sample, PassedOver::default());
        let around = around.filter(|_| in_sight == InSight::Nothing)?;
        let mut values = around.values(&self.standardisation.mean);
        for (value, least) in values.iter_mut().zip(&self.standardisation.least) {
            *value = value.max(*least);
        }
        Some(values)
    }

    /// The value of an entry, and its draws moved together so that the value is their mean.
    ///
    /// The value stands between what the guide expects, what the network makes of it and, for a sample of
    /// which nothing is in sight, what the samples around say, where least squares on held-out entries put
    /// it.
    pub(super) fn centred(
        &self,
        mut draws: Vec<f64>,
        expectations: &Expectations,
        in_sight: InSight,
    ) -> (f64, Vec<f64>) {
        let value = match (in_sight, &self.whole_samples, expectations.local) {
            (InSight::Nothing, Some(whole), Some(local)) => {
                let own = expectations.by_model(whole.trust);
                own + whole.local[class_of(local)] * (local - own)
            }
            _ => expectations.by_model(self.trust),
        };
        let shift = value - draws.iter().sum::<f64>() / draws.len() as f64;
        draws.iter_mut().for_each(|draw| *draw += shift);
        (value, draws)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_and_abundant_taxa_take_their_own_weight_of_the_samples_around() {
        let entry = |k: usize, local: f64, weight: f64| {
            let (guess, network) = (local + 0.1 + k as f64 / 1e5, local - 0.3);
            let own = guess + 0.5 * (network - guess);
            HeldOutEntry {
                copy: 0,
                sample: k,
                taxon: 0,
                hidden_share: 0.3,
                said: CalibrationEntry {
                    truth: weight * local + (1.0 - weight) * own,
                    value: own,
                    draws: Vec::new(),
                },
                expectations: Expectations {
                    guess,
                    network,
                    local: Some(local),
                },
            }
        };
        // Half a percent and two percent; the belief that the weight is a quarter counts for 300 entries.
        let mut entries: Vec<HeldOutEntry> = (0..900).map(|k| entry(k, 0.4, 0.2)).collect();
        entries.extend((0..400).map(|k| entry(900 + k, 1.1, 0.9)));
        let [rare, abundant] = local_by(&entries, 0.5);
        assert!((rare - (900.0 * 0.2 + 300.0 * 0.25) / 1200.0).abs() < 1e-9);
        assert!((abundant - (400.0 * 0.9 + 300.0 * 0.25) / 700.0).abs() < 1e-9);
        entries.iter_mut().for_each(|e| e.expectations.local = None);
        assert_eq!(local_by(&entries, 0.5), [0.25, 0.25], "nothing is known");
    }
}
