//! Imputation: presence first, then abundance given presence, several draws of each.

use super::Model;
use super::batch::Flag;
use super::entries::{Cohort, Entries, Known};
use super::held_out::{Expectations, InSight};
use super::neighbours::PassedOver;
use super::sampling::{Job, Plan, Run};
use super::work::{Judged, Work, judge_again};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::rng::{Stage, generator};
use crate::sample::Sampler;
use crate::train::Progress;
use ndarray::{Array2, Axis};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use suffuse_stats::blend::{Blend, Said};

/// Which entries may be filled, besides those that are withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Entries that were not measured (`NaN`).
    Missing,
    /// Zeros whose probability of presence reaches the threshold.
    Zeros,
    /// Both.
    MissingAndZeros,
}

/// What was done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was there, or not to be filled, and is unchanged.
    Observed,
    /// It was filled.
    Filled,
    /// It was zero and stays zero.
    KeptZero,
}

/// How to impute.
pub struct ImputeOptions<'a> {
    /// Which entries may be filled.
    pub fill: Fill,
    /// Probability of presence from which an entry is filled with a positive value.
    pub presence_threshold: f64,
    /// Zeros (sample, feature) that stay zero.
    pub structural_zeros: &'a [(u32, u32)],
    /// Draws per sample.
    pub n_draws: usize,
    /// Completed tables of one draw each beside that of the means; at most `n_draws`.
    pub n_sets: usize,
    /// The reverse process.
    pub sampler: Sampler,
    /// Seed of the noise.
    pub seed: u64,
    /// Where the networks compute.
    pub device: Device,
    /// Another method that has a say in every filled value.
    pub partner: Option<Partner<'a>>,
    /// Samples of a block, handled at once; bounds memory, changes nothing else.
    pub batch_size: usize,
    /// Told after each block.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

/// Values of entries (sample, feature) by another method.
pub type Predict<'a> = dyn Fn(&[(u32, u32)]) -> Vec<f64> + 'a;

/// Probabilities of presence of zeros (sample, feature) in place of those that the model gives them.
pub type Rejudge<'a> = dyn Fn(&[(u32, u32)], &[f64]) -> Vec<f64> + 'a;

/// Another method that has a say in every filled value.
#[derive(Clone, Copy)]
pub struct Partner<'a> {
    /// How much of a value is the model's, and how both are calibrated.
    pub blend: Blend,
    /// ln(1+percent) given presence of each entry (sample, feature) that will be filled. It is asked once,
    /// when presence has been judged in the whole table.
    pub predict: &'a Predict<'a>,
    /// What is made of the model's judgement of the zeros that may be filled; `None`: it stands. It is asked
    /// once, before anything is filled.
    pub rejudge: Option<&'a Rejudge<'a>>,
}

/// A completed table.
#[derive(Debug, Clone, PartialEq)]
pub struct Imputation {
    /// Values in the unit of the table; observed entries are bit-identical.
    pub value: Array2<f64>,
    /// Lower end of the 90 % interval given presence; the value itself where nothing was filled.
    pub lower: Array2<f64>,
    /// Upper end of the 90 % interval.
    pub upper: Array2<f64>,
    /// Probability of presence: 1 for observed and withheld, 0 for structural zeros, `NaN` for entries
    /// that were not judged.
    pub presence: Array2<f64>,
    /// What was done.
    pub action: Array2<Action>,
    /// Per withheld entry of the cohort: draws of ln(1+percent) given presence.
    pub hidden_draws: Vec<Vec<f64>>,
}

/// Separates the draws of presence in the completed tables from those of both passes.
const SET_PRESENCE: u64 = 1 << 33;

/// Consecutive samples of a cohort, filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Position of the first sample in the table.
    pub first_sample: usize,
    /// What became of them; `hidden_draws` are those of these samples.
    pub filled: Imputation,
    /// Per completed table of one draw, `[n_samples, n_taxa]`: as `filled.value`, but each filled
    /// entry is a draw of its presence, and given that a draw of its abundance.
    pub sets: Vec<Array2<f64>>,
}

/// What is asked of every block.
pub(super) struct Asked<'a> {
    pub(super) fill: Fill,
    presence_threshold: f64,
    pub(super) structural: &'a HashSet<(u32, u32)>,
    n_draws: usize,
    n_sets: usize,
}

impl<'a> Asked<'a> {
    /// The presence of zeros and nothing else.
    pub(super) fn zeros(structural: &'a HashSet<(u32, u32)>) -> Self {
        Asked {
            fill: Fill::Zeros,
            presence_threshold: 1.0,
            structural,
            n_draws: 1,
            n_sets: 0,
        }
    }
}

/// The two passes over each block of samples; their networks and masks are prepared once.
pub(super) struct Passes<'a> {
    pub(super) presence: Run<'a>,
    pub(super) presence_plan: Plan<'a>,
    /// Per sample, the part of the samples whose member of the guide is asked; `None`: all members are.
    pub(super) left_out: Option<Vec<usize>>,
    values: Run<'a>,
    values_plan: Plan<'a>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(model: &'a Model, presence: Run<'a>, values: Run<'a>) -> Result<Self> {
        Ok(Passes {
            presence_plan: Plan::new(model, &presence)?,
            values_plan: Plan::new(model, &values)?,
            left_out: None,
            presence,
            values,
        })
    }
}

impl Model {
    /// Fills a cohort that has the model's features.
    ///
    /// The value is the mean of the draws in ln(1+percent), turned back into the unit of the table.
    /// Samples whose total is not known to be positive are left as they are, unless the model knows of
    /// times and others of their subject are in sight: such a sample is filled as a composition, and its
    /// total is the median of those around it.
    ///
    /// # Errors
    /// Other features than the model's, metadata of another length, an interruption.
    pub fn impute(&self, cohort: &Cohort, options: &mut ImputeOptions) -> Result<Imputation> {
        let n_taxa = self.feature_ids.len();
        let nothing = || Array2::zeros((0, n_taxa));
        let mut all = Imputation {
            value: nothing(),
            lower: nothing(),
            upper: nothing(),
            presence: nothing(),
            action: Array2::from_elem((0, n_taxa), Action::Observed),
            hidden_draws: Vec::new(),
        };
        self.impute_blocks(cohort, options, |block| -> Result<()> {
            let filled = block.filled;
            append(&mut all.value, &filled.value);
            append(&mut all.lower, &filled.lower);
            append(&mut all.upper, &filled.upper);
            append(&mut all.presence, &filled.presence);
            append(&mut all.action, &filled.action);
            all.hidden_draws.extend(filled.hidden_draws);
            Ok(())
        })?;
        Ok(all)
    }

    /// As [`Model::impute`], handing on blocks of `options.batch_size` samples as they are finished,
    /// in the order of the table: memory does not grow with the number of samples.
    ///
    /// # Errors
    /// As [`Model::impute`], more sets than draws, and what `each` reports.
    pub fn impute_blocks<E: From<Error>>(
        &self,
        cohort: &Cohort,
        options: &mut ImputeOptions,
        mut each: impl FnMut(Block) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.check_features(cohort)?;
        if options.n_sets > options.n_draws {
            let (n_sets, n_draws) = (options.n_sets, options.n_draws);
            return Err(Error::Table(format!(
                "{n_sets} completed tables of one draw each were asked for, but only {n_draws} draws; raise sampling.n_draws to {n_sets}"
            ))
            .into());
        }
        let entries = self.entries(cohort)?;
        let structural: HashSet<(u32, u32)> = options.structural_zeros.iter().copied().collect();
        let n_samples = entries.n_samples();
        let began = Instant::now();
        let size = options.batch_size.max(1);
        let device = options.device.clone();
        let values = Run {
            entries: &entries,
            conditions: cohort.conditions.as_ref(),
            sampler: options.sampler,
            seed: options.seed,
            device: &device,
            interrupted: options.interrupted,
        };
        let presence = Run {
            sampler: self.presence_sampler(options.sampler),
            ..values
        };
        let passes = Passes::new(self, presence, values)?;
        let blocks = (0..n_samples)
            .step_by(size)
            .map(|first| first..(first + size).min(n_samples));
        let mut say = |stage: &str, step: usize| {
            (options.progress)(&Progress {
                stage: stage.to_string(),
                step,
                n_steps: n_samples,
                loss: f64::NAN,
                validation: None,
                seconds: began.elapsed().as_secs_f64(),
            });
        };
        let asked = Asked {
            fill: options.fill,
            presence_threshold: options.presence_threshold,
            structural: &structural,
            n_draws: options.n_draws,
            n_sets: options.n_sets,
        };
        let Some(partner) = options.partner else {
            for samples in blocks {
                let work = self.judge_block(&passes, &asked, samples.clone())?;
                let judged = Judged::of(work, asked.presence_threshold);
                each(self.fill_block(&passes, &asked, judged, None)?)?;
                say("filling", samples.end);
            }
            return Ok(());
        };
        let mut judged = Vec::new();
        for samples in blocks {
            judged.push(self.judge_block(&passes, &asked, samples.clone())?);
            say("judging presence", samples.end);
        }
        if let Some(rejudge) = partner.rejudge {
            judge_again(&mut judged, rejudge);
        }
        let waiting: Vec<Judged> = judged
            .into_iter()
            .map(|work| Judged::of(work, asked.presence_threshold))
            .collect();
        let entries_to_fill: Vec<(u32, u32)> = waiting.iter().flat_map(Judged::entries).collect();
        let predicted = (partner.predict)(&entries_to_fill);
        let mut predicted = &predicted[..];
        for judged in waiting {
            let (here, rest) = predicted.split_at(judged.entries().count());
            predicted = rest;
            let end = judged.work.samples.end;
            each(self.fill_block(&passes, &asked, judged, Some((&partner.blend, here)))?)?;
            say("filling", end);
        }
        Ok(())
    }

    fn judge_block(&self, passes: &Passes, asked: &Asked, samples: Range<usize>) -> Result<Work> {
        let mut work = self.begin(passes.values.entries, asked, samples);
        self.judge_presence(passes, asked.n_draws.div_ceil(2), &mut work)?;
        Ok(work)
    }

    fn fill_block(
        &self,
        passes: &Passes,
        asked: &Asked,
        judged: Judged,
        partner: Option<(&Blend, &[f64])>,
    ) -> Result<Block> {
        let entries = passes.values.entries;
        let hidden_shares = judged.hidden_shares();
        let Judged { work, is_positive } = judged;
        let draws = self.draw_values(passes, asked.n_draws, &work, &is_positive)?;
        let mut others = partner.map(|(_, predicted)| predicted.iter());
        let said: Vec<Option<Said>> = draws
            .into_iter()
            .enumerate()
            .map(|(at, draws)| {
                let value = match draws.len() {
                    0 => return None,
                    n => draws.iter().sum::<f64>() / n as f64,
                };
                let other = others.as_mut().and_then(Iterator::next);
                let in_sight = work.unit[at / work.n_taxa].in_sight();
                Some(match (partner, other, in_sight) {
                    // Others know nothing of a sample of which nothing is in sight.
                    (Some((blend, _)), Some(other), InSight::Some) => {
                        blend.join(value, *other, &draws, hidden_shares[at / work.n_taxa])
                    }
                    _ => Said {
                        value,
                        intervals: self.intervals_with(&draws, value, in_sight),
                        draws,
                    },
                })
            })
            .collect();
        let first_sample = work.samples.start;
        let drawn = self.drawn_sets(passes.values.seed, entries, asked.n_sets, &work, &said);
        let filled = self.finish(entries, work, said);
        let complete = |drawn: Vec<(usize, f64)>| {
            let mut set = filled.value.clone();
            for (at, value) in drawn {
                set[[at / entries.n_taxa, at % entries.n_taxa]] = value;
            }
            set
        };
        let sets = drawn.into_iter().map(complete).collect();
        Ok(Block {
            first_sample,
            filled,
            sets,
        })
    }

    /// Draws of ln(1+percent) given presence of each entry that is taken to be positive, moved together
    /// so that their mean is the value, and calibrated.
    fn draw_values(
        &self,
        passes: &Passes,
        n_draws: usize,
        work: &Work,
        is_positive: &[bool],
    ) -> Result<Vec<Vec<f64>>> {
        let (run, plan) = (&passes.values, &passes.values_plan);
        let mut jobs = Vec::new();
        for sample in work.fillable() {
            let range = work.range(sample);
            if !is_positive[range.clone()].contains(&true) {
                continue;
            }
            let flags: Vec<Flag> = range
                .map(|at| match is_positive[at] {
                    true => Flag::HiddenPresent,
                    false => Flag::of(work.known[at]),
                })
                .collect();
            jobs.extend((0..n_draws).map(|draw| Job {
                sample,
                flags: flags.clone(),
                draw: draw as u64,
                fold: None,
                passed_over: PassedOver::default(),
            }));
        }
        let mut draws: Vec<Vec<f64>> = vec![Vec::new(); work.known.len()];
        let drawn = self.sample(run, plan, &jobs)?;
        for (jobs, drawn) in jobs.chunks(n_draws).zip(drawn.chunks(n_draws)) {
            let start = work.range(jobs[0].sample).start;
            let in_sight = work.unit(jobs[0].sample).in_sight();
            let local = self.local(run.entries, jobs[0].sample, in_sight);
            for taxon in (0..work.n_taxa).filter(|taxon| is_positive[start + taxon]) {
                let own = drawn.iter().map(|drawn| drawn.abundance[taxon]).collect();
                let expected = Expectations::over(drawn, taxon, local.as_deref());
                let (value, centred) = self.centred(own, &expected, in_sight);
                draws[start + taxon] = match self.calibration_of(in_sight) {
                    Some(calibration) => calibration.draws(&centred, value),
                    None => centred,
                };
            }
        }
        Ok(draws)
    }

    /// What the draws mean for the table.
    fn finish(&self, entries: &Entries, work: Work, mut said: Vec<Option<Said>>) -> Imputation {
        let shape = (work.samples.len(), work.n_taxa);
        // The truth of a withheld entry must not come back, even where nothing can be filled.
        let original = work.samples.clone().flat_map(|s| entries.original_row(s));
        let value = Array2::from_shape_vec(shape, original.collect())
            .expect("one value per sample and taxon");
        let mut result = Imputation {
            lower: value.clone(),
            upper: value.clone(),
            value,
            presence: Array2::zeros((0, 0)),
            action: Array2::from_elem(shape, Action::Observed),
            hidden_draws: Vec::new(),
        };
        for (row, sample) in work.samples.clone().enumerate() {
            let bounded = |said: &Said, taxon: usize| {
                let least = self.standardisation.least[taxon];
                let value = said.value.max(least);
                let (low, high) = said.intervals[1];
                [value, low.clamp(least.min(value), value), high.max(value)]
            };
            let values = said[work.range(sample)].iter().enumerate();
            let values = values.filter_map(|(taxon, said)| Some(bounded(said.as_ref()?, taxon)[0]));
            let scale = work.unit(sample).scale(values);
            for taxon in 0..work.n_taxa {
                let (at, place) = (row * work.n_taxa + taxon, (row, taxon));
                if let Some(said) = &said[at] {
                    let [value, low, high] = bounded(said, taxon).map(|y| scale.of(y));
                    result.value[place] = value;
                    result.lower[place] = low;
                    result.upper[place] = high;
                    result.action[place] = Action::Filled;
                } else if work.known[at] == Known::Unknown
                    && work.is_candidate[at]
                    && work.is_fillable[row]
                {
                    result.value[place] = 0.0;
                    result.lower[place] = 0.0;
                    result.upper[place] = 0.0;
                    result.action[place] = Action::Filled;
                } else if work.known[at] == Known::Absent {
                    result.action[place] = Action::KeptZero;
                }
            }
        }
        result.hidden_draws = entries
            .hidden_in(work.samples.clone())
            .iter()
            .map(|(sample, taxon)| {
                let start = work.range(*sample as usize).start;
                let said = said[start + *taxon as usize].take();
                said.map(|said| said.draws).unwrap_or_default()
            })
            .collect();
        result.presence = Array2::from_shape_vec(shape, work.presence)
            .expect("one probability per sample and taxon");
        result
    }

    /// Per completed table: the entries of a block that are drawn, and their values in the unit of the
    /// table. Draw `k` of the abundances belongs to table `k`; an entry is absent there with probability
    /// `1 - presence`, and what is present is no lower than the taxon was ever seen. One number per taxon of a sample is drawn, filled or not, so that the presence of an
    /// entry depends on the seed, its sample, its place among the taxa and `k` alone.
    fn drawn_sets(
        &self,
        seed: u64,
        entries: &Entries,
        n_sets: usize,
        work: &Work,
        said: &[Option<Said>],
    ) -> Vec<Vec<(usize, f64)>> {
        let one_set = |k: usize| {
            let mut drawn = Vec::new();
            for sample in work.fillable() {
                let number = SET_PRESENCE + k as u64;
                let id = entries.sample_id(sample);
                let mut rng = generator(seed, Stage::Sampling, id, number);
                let mut own = Vec::new();
                for (taxon, at) in work.range(sample).enumerate() {
                    let u: f64 = rng.random();
                    if let Some(y) = said[at].as_ref().and_then(|said| said.draws.get(k)) {
                        let y = y.max(self.standardisation.least[taxon]);
                        own.push((at, (u < work.presence[at]).then_some(y)));
                    }
                }
                let scale = work.unit(sample).scale(own.iter().filter_map(|(_, y)| *y));
                drawn.extend(
                    own.into_iter()
                        .map(|(at, y)| (at, y.map_or(0.0, |y| scale.of(y)))),
                );
            }
            drawn
        };
        (0..n_sets).map(one_set).collect()
    }

    /// How much taxon `i` attends to taxon `j`: mean over heads, blocks and samples.
    ///
    /// # Errors
    /// As [`Model::impute`].
    pub fn attention(&self, cohort: &Cohort, seed: u64) -> Result<Array2<f64>> {
        self.check_features(cohort)?;
        let entries = self.entries(cohort)?;
        let interrupted = AtomicBool::new(false);
        let run = Run {
            entries: &entries,
            conditions: cohort.conditions.as_ref(),
            sampler: self.config.sampling.sampler,
            seed,
            device: &Device::flex(),
            interrupted: &interrupted,
        };
        let map = self.attention_between_taxa(&run, &entries.informative_samples())?;
        Ok(Array2::from_shape_vec((entries.n_taxa, entries.n_taxa), map).expect("a square map"))
    }

    /// Refuses other features than those of the model, and another order.
    ///
    /// # Errors
    /// [`Error::Features`].
    pub fn require_features(&self, found: &[String]) -> Result<()> {
        if found != self.feature_ids {
            let own: HashSet<&String> = self.feature_ids.iter().collect();
            return Err(Error::Features {
                found: found.len(),
                expected: self.feature_ids.len(),
                shared: found.iter().filter(|id| own.contains(id)).count(),
            });
        }
        Ok(())
    }

    pub(super) fn check_features(&self, cohort: &Cohort) -> Result<()> {
        self.require_features(cohort.table.feature_ids())?;
        let dim = cohort
            .conditions
            .as_ref()
            .map_or(0, |conditions| conditions.dim);
        if dim != self.d_metadata && cohort.conditions.is_some() {
            return Err(Error::Table(format!(
                "metadata vectors have length {dim}, but the model was fitted with {}",
                self.d_metadata
            )));
        }
        Ok(())
    }
}

fn append<T: Copy>(all: &mut Array2<T>, rows: &Array2<T>) {
    all.append(Axis(0), rows.view())
        .expect("rows of one length");
}
