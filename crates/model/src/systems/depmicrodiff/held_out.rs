//! What a fitted model says of entries of its own table that it was not fitted on: what calibration and
//! comparison with other methods need.

use super::Model;
use super::batch::Flag;
use super::entries::{Cohort, Entries, Known};
use super::fit::validation_samples;
use super::guide_fit::folds;
use super::sampling::{Drawn, Job, Plan, Run};
use crate::device::Device;
use crate::error::Result;
use crate::rng::{Stage, generator};
use rand::RngExt;
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
}

/// Rows (sample, copy) that are filled at most: enough for intervals, seconds to fill.
const MAX_ROWS: usize = 600;

/// Separates the noise of these draws from that of filling.
const DRAWS: u64 = 1 << 33;

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
        let entries = Entries::new(cohort)?;
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
        let in_turn = (0..config.calibration.n_copies)
            .flat_map(|copy| samples.iter().map(move |sample| (copy, *sample)));
        for (copy, sample) in in_turn.take(MAX_ROWS) {
            let id = entries.sample_id(sample);
            let mut rng = generator(self.seed, Stage::Validation, id, copy as u64);
            let rate = rng.random_range(config.hiding.least..=config.hiding.most);
            let known = entries.known_row(sample);
            let flags: Vec<Flag> = known
                .iter()
                .map(|known| match (known, rng.random_bool(rate)) {
                    (Known::Present, true) => Flag::HiddenPresent,
                    (known, _) => Flag::of(*known),
                })
                .collect();
            if !flags.contains(&Flag::Present) {
                continue; // nothing is left to take a share of
            }
            let is_asked = |taxon: &usize| {
                flags[*taxon] == Flag::HiddenPresent && known[*taxon] == Known::Present
            };
            let asked: Vec<usize> = (0..flags.len()).filter(is_asked).collect();
            let first = DRAWS + (copy * n_draws) as u64;
            jobs.extend((0..n_draws as u64).map(|draw| Job {
                sample,
                flags: flags.clone(),
                draw: first + draw,
                fold: Some(fold_of[sample]),
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
            let total = Scale(entries.total(sample, Some(&hidden)));
            let abundance = entries.abundance_row(sample);
            for taxon in asked {
                let draws: Vec<f64> = drawn.iter().map(|d| d.abundance[taxon]).collect();
                let expectations = Expectations::over(drawn, taxon);
                let (value, draws) = self.centred(draws, &expectations);
                found.push(HeldOutEntry {
                    expectations,
                    copy,
                    sample,
                    taxon,
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

    /// Central 50 % and 90 % intervals around a value from its draws as they come out of filling, in
    /// ln(1+percent).
    pub fn intervals(&self, draws: &[f64], value: f64) -> [(f64, f64); 2] {
        match &self.calibration {
            Some(calibration) => calibration.intervals(draws, value),
            None => LEVELS.map(|level| predictive_interval(draws, level)),
        }
    }

    /// Calibrates the model on its validation samples.
    pub(super) fn calibrate(
        &mut self,
        cohort: &Cohort,
        device: &Device,
        interrupted: &AtomicBool,
    ) -> Result<()> {
        if self.config.calibration.n_copies > 0 {
            let entries = self.held_out_entries(cohort, device, interrupted)?;
            if self.guide.is_some() && !entries.is_empty() {
                let column =
                    |of: fn(&HeldOutEntry) -> f64| -> Vec<f64> { entries.iter().map(of).collect() };
                let mut distinct: Vec<(usize, usize)> = entries
                    .iter()
                    .map(|entry| (entry.sample, entry.taxon))
                    .collect();
                distinct.sort_unstable();
                distinct.dedup();
                self.trust = Blend::least_squares(
                    &column(|entry| entry.said.truth),
                    &column(|entry| entry.expectations.network),
                    &column(|entry| entry.expectations.guess),
                    distinct.len(),
                );
            }
            let said: Vec<CalibrationEntry> = entries
                .into_iter()
                .map(|entry| {
                    let CalibrationEntry { truth, draws, .. } = entry.said;
                    let (value, draws) = self.centred(draws, &entry.expectations);
                    CalibrationEntry {
                        truth,
                        value,
                        draws,
                    }
                })
                .collect();
            self.calibration = Calibration::fit(&said);
        }
        Ok(())
    }
}

impl Expectations {
    /// Means over draws of what is expected of a taxon.
    pub(super) fn over(drawn: &[Drawn], taxon: usize) -> Expectations {
        let n = drawn.len() as f64;
        Expectations {
            guess: drawn.iter().map(|d| d.guess[taxon]).sum::<f64>() / n,
            network: drawn.iter().map(|d| d.expected[taxon]).sum::<f64>() / n,
        }
    }
}

impl Model {
    /// The value of an entry, and its draws moved together so that the value is their mean.
    ///
    /// The value stands between what the guide expects and what the network makes of it, where least
    /// squares on held-out entries put it.
    pub(super) fn centred(
        &self,
        mut draws: Vec<f64>,
        expectations: &Expectations,
    ) -> (f64, Vec<f64>) {
        let Expectations { guess, network } = expectations;
        let value = guess + self.trust * (network - guess);
        let shift = value - draws.iter().sum::<f64>() / draws.len() as f64;
        draws.iter_mut().for_each(|draw| *draw += shift);
        (value, draws)
    }
}
