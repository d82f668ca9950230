//! Training of the guide, member by member on its own folds.

use super::batch::Flag;
use super::config::Config;
use super::dat::Beside;
use super::entries::{Entries, Standardisation};
use super::guide::{
    Guide, GuideRows, Member, Part, Seen, Shape, members, metadata_of, some_members,
};
use super::level::Level;
use super::log_scale::LogScale;
use super::objective::{Source, hide_sample};
use crate::device::Device;
use crate::error::Result;
use crate::nn::Dropout;
use crate::parameters::{Absent, Builder, Parameters};
use crate::rng::{Stage, generator};
use crate::train::fit::{Objective, Shard};
use crate::train::{Stages, TrainConfig};
use burn::tensor::Tensor;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Parts into which a step is cut for threads; part of the definition of the result.
const N_SHARDS: usize = 4;
/// Hidden copies of validation rows that a member has at least.
const MIN_VALIDATION_ROWS: usize = 128;
/// Validation samples of a member at most.
const MAX_VALIDATION_SAMPLES: usize = 256;
/// Hidden copies of the table from which the spread of the residuals is estimated.
const N_COPIES: u64 = 2;
/// Observations that the pooled variance of residuals counts for.
const PRIOR_OBSERVATIONS: f64 = 3.0;
/// Smallest spread of a taxon's residuals in ln(1+percent).
const MIN_SD: f64 = 0.05;

/// The fold of each sample of a cohort: whole groups, in seeded order, dealt in turn.
pub(super) fn folds(
    n_samples: usize,
    groups: Option<&[usize]>,
    n_folds: usize,
    seed: u64,
) -> Vec<usize> {
    let group_of = |sample: usize| groups.map_or(sample, |groups| groups[sample]);
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for sample in 0..n_samples {
        members.entry(group_of(sample)).or_default().push(sample);
    }
    let mut order: Vec<Vec<usize>> = members.into_values().collect();
    order.shuffle(&mut generator(seed, Stage::Validation, "guide folds", 0));
    let mut fold_of = vec![0; n_samples];
    for (position, samples) in order.iter().enumerate() {
        for sample in samples {
            fold_of[*sample] = position % n_folds.max(1);
        }
    }
    fold_of
}

/// Where a guide is fitted.
#[derive(Clone, Copy)]
pub(super) struct GuideFit<'a> {
    pub(super) config: &'a Config,
    pub(super) standardisation: &'a Standardisation,
    pub(super) scale: &'a LogScale,
    pub(super) level: &'a Level,
    pub(super) beside: Beside,
    pub(super) seed: u64,
}

struct GuideObjective<'a> {
    fit: &'a GuideFit<'a>,
    part: Part,
    cohorts: &'a [Source<'a>],
    /// Per member: (cohort, sample).
    train: Vec<Vec<(usize, usize)>>,
    validation: Vec<Vec<(usize, usize)>>,
}

/// Factor of the learning rate after pre-training.
const FINE_TUNING: f64 = 0.5;

impl GuideFit<'_> {
    /// Trains the members: on other cohorts first, if there are any, around the means of those.
    ///
    /// # Errors
    /// As training.
    pub(super) fn run(
        &self,
        stages: &mut Stages,
        others: &[Source],
        target: &[Source],
    ) -> Result<Guide> {
        let device = stages.device.clone();
        let entries: Vec<&Entries> = others.iter().map(|source| &source.entries).collect();
        let around = (!others.is_empty()).then(|| {
            let (standardisation, scale) =
                (Standardisation::fit(&entries), LogScale::fit(&entries));
            let level = Level::fit(self.config, &scale, &standardisation, others, self.seed);
            (standardisation, scale, level)
        });
        let mut weights = Parameters::default();
        let mut losses = Vec::new();
        for part in Part::BOTH {
            let make = |p: &mut Builder| members(p, &self.shape(), part);
            let mut of_part = Parameters::initial(&Parameters::default(), self.seed, make)?;
            let mut training = self.config.guide.training;
            if let Some((standardisation, scale, level)) = &around {
                let around = GuideFit {
                    standardisation,
                    scale,
                    level,
                    ..*self
                };
                let name = format!("{}-pretraining", part.stage());
                (of_part, _) = around.train(stages, (part, &name), &training, others, of_part)?;
                training.learning_rate *= FINE_TUNING;
            }
            let name = part.stage();
            let (of_part, loss) = self.train(stages, (part, name), &training, target, of_part)?;
            weights.by_path.extend(of_part.by_path);
            losses.push(loss);
        }
        self.finish(weights, losses.iter().sum(), &target[0], &device)
    }

    fn train(
        &self,
        stages: &mut Stages,
        (part, name): (Part, &str),
        training: &TrainConfig,
        cohorts: &[Source],
        initial: Parameters,
    ) -> Result<(Parameters, f64)> {
        let n_members = part.n_members(&self.config.guide);
        let (mut train, mut validation) =
            (vec![Vec::new(); n_members], vec![Vec::new(); n_members]);
        for (c, cohort) in cohorts.iter().enumerate() {
            for &sample in &cohort.samples {
                for k in 0..n_members {
                    let side = match cohort.folds[sample] == part.fold(k) {
                        true => &mut validation[k],
                        false => &mut train[k],
                    };
                    side.push((c, sample));
                }
            }
        }
        for (train, validation) in train.iter_mut().zip(&validation) {
            if train.is_empty() {
                train.clone_from(validation); // a single group: there is nothing else to learn from
            }
        }
        let mut config = *self.config;
        if part == Part::Presence {
            config.hiding.known_present = 0.0; // where it is known there is nothing to learn
        }
        let objective = GuideObjective {
            fit: &GuideFit {
                config: &config,
                ..*self
            },
            part,
            cohorts,
            train,
            validation,
        };
        let trained = stages.run(name, training, initial, &objective)?;
        Ok((trained.best, trained.best_loss))
    }

    fn shape(&self) -> Shape<'_> {
        Shape {
            config: &self.config.guide,
            scale: self.scale,
            standardisation: self.standardisation,
            level: self.level,
            d_metadata: self.beside.d_metadata,
            is_in_time: self.beside.n_neighbours > 0,
        }
    }

    /// The fitted guide with the spread of what it leaves over on samples that a member has not seen.
    fn finish(
        &self,
        weights: Parameters,
        loss: f64,
        source: &Source,
        device: &Device,
    ) -> Result<Guide> {
        let n_taxa = self.standardisation.mean.len();
        let mut guide = Guide {
            weights,
            scale: self.scale.clone(),
            level: self.level.clone(),
            sd: vec![1.0; n_taxa],
            loss,
        };
        let (mut n, mut square) = (vec![0.0; n_taxa], vec![0.0; n_taxa]);
        let bound = guide.bind(
            &self.config.guide,
            self.standardisation,
            self.beside,
            device,
        )?;
        for copy in 0..N_COPIES {
            let mut rng = generator(self.seed, Stage::Validation, "guide residuals", copy);
            for samples in source.samples.chunks(64) {
                let mut rows = GuideRows::new(n_taxa);
                let mut asked = Vec::new();
                for &sample in samples {
                    let hidden = hide_sample(self.config, &source.entries, sample, &mut rng);
                    let seen = Seen {
                        entries: &source.entries,
                        sample,
                        flags: &hidden.flags,
                        passed_over: hidden.passed_over,
                        metadata: metadata_of(source.conditions.as_ref(), sample),
                    };
                    rows.push(&bound.shape, &seen);
                    asked.push(Some(source.folds[sample]));
                }
                let estimates = bound.estimates(&rows, &asked);
                for (at, residual) in rows.residuals(&estimates.value) {
                    n[at % n_taxa] += 1.0;
                    square[at % n_taxa] += residual * residual;
                }
            }
        }
        let n_all: f64 = n.iter().sum();
        let pooled = match n_all > 0.0 {
            true => square.iter().sum::<f64>() / n_all,
            false => 1.0,
        };
        guide.sd = n
            .iter()
            .zip(&square)
            .map(|(n, square)| {
                let variance = (square + PRIOR_OBSERVATIONS * pooled) / (n + PRIOR_OBSERVATIONS);
                variance.sqrt().max(MIN_SD)
            })
            .collect();
        Ok(guide)
    }
}

/// Most of the non-zeros of a sample that pass for zeros.
const MOST_FALSE: f64 = 0.5;

/// Lets a random share of what is in sight pass for absent, of every second sample: the zeros of a table to be
/// judged are not all true.
fn pass_for_absent(flags: &mut [Flag], rng: &mut ChaCha8Rng) {
    let share = match rng.random_bool(0.5) {
        true => rng.random_range(0.0..=MOST_FALSE),
        false => return,
    };
    for flag in flags.iter_mut().filter(|flag| **flag == Flag::Present) {
        if rng.random_bool(share) {
            *flag = Flag::Absent;
        }
    }
}

impl GuideObjective<'_> {
    fn rows(&self, chosen: &[(usize, usize)], rng: &mut ChaCha8Rng) -> GuideRows {
        let mut rows = GuideRows::new(self.fit.standardisation.mean.len());
        let shape = self.fit.shape();
        for &(cohort, sample) in chosen {
            let source = &self.cohorts[cohort];
            let mut hidden = hide_sample(self.fit.config, &source.entries, sample, rng);
            if self.part == Part::Presence {
                pass_for_absent(&mut hidden.flags, rng);
            }
            let is_dropped = rng.random_bool(self.fit.config.dat.metadata_dropout);
            let metadata = metadata_of(source.conditions.as_ref(), sample);
            let seen = Seen {
                entries: &source.entries,
                sample,
                flags: &hidden.flags,
                passed_over: hidden.passed_over,
                metadata: metadata.filter(|_| !is_dropped),
            };
            rows.push(&shape, &seen);
        }
        rows
    }

    fn n_members(&self) -> usize {
        self.train.len()
    }

    fn name(&self, member: usize) -> String {
        format!("{} {member}", self.part.stage())
    }

    fn chosen(&self, member: usize, step: usize) -> Vec<(usize, usize)> {
        let train = &self.train[member];
        let name = self.name(member);
        let mut rng = generator(self.fit.seed, Stage::Batch, &name, step as u64);
        let n = self.fit.config.guide.training.batch_size.min(train.len());
        (0..n)
            .map(|_| train[rng.random_range(0..train.len())])
            .collect()
    }
}

impl Objective for GuideObjective<'_> {
    fn n_shards(&self) -> usize {
        N_SHARDS.min(self.n_members())
    }

    fn loss(&self, builder: &mut Builder, step: usize, shard: usize) -> Shard {
        let device = builder.device().clone();
        let own = (shard..self.n_members()).step_by(self.n_shards());
        let n_own = own.len();
        let bound = some_members(builder, &self.fit.shape(), self.part, own.clone());
        let mut sum = Tensor::<1>::zeros([1], &device);
        for (k, member) in own.zip(&bound) {
            let name = self.name(k);
            let mut rng = generator(self.fit.seed, Stage::TrainingStep, &name, step as u64);
            let rows = self.rows(&self.chosen(k, step), &mut rng);
            let dropout = Dropout {
                share: self.fit.config.guide.dropout,
                rng: &mut rng,
            };
            sum = sum + member.loss(&rows, &device, Some(dropout));
        }
        Shard {
            loss: sum / n_own as f64,
            share: n_own as f64 / self.n_members() as f64,
        }
    }

    fn validate(&self, parameters: &Parameters, device: &Device) -> Result<Option<f64>> {
        let mut builder = Builder::new(parameters, Absent::Refuse, device);
        let bound = members(&mut builder, &self.fit.shape(), self.part);
        builder.finish()?;
        let losses = crate::device::each(device, bound.len(), |k| {
            Ok(self.validation_loss(k, &bound[k], device))
        })?;
        let losses: Vec<f64> = losses.into_iter().flatten().collect();
        let n = losses.len() as f64;
        Ok((!losses.is_empty()).then(|| losses.iter().sum::<f64>() / n))
    }

    fn samples(&self, step: usize) -> Vec<String> {
        let chosen = (0..self.n_members()).flat_map(|k| self.chosen(k, step));
        chosen
            .map(|(cohort, sample)| self.cohorts[cohort].entries.sample_id(sample).to_string())
            .collect()
    }
}

impl GuideObjective<'_> {
    /// `None` without validation samples.
    fn validation_loss(&self, k: usize, member: &Member, device: &Device) -> Option<f64> {
        let samples = &self.validation[k];
        let samples = &samples[..samples.len().min(MAX_VALIDATION_SAMPLES)];
        if samples.is_empty() {
            return None;
        }
        let n_copies = MIN_VALIDATION_ROWS.div_ceil(samples.len());
        let name = self.name(k);
        let mut rng = generator(self.fit.seed, Stage::Validation, &name, 0);
        let rows = self.rows(&samples.repeat(n_copies), &mut rng);
        let loss = member.loss(&rows, device, None);
        Some(f64::from(loss.into_scalar::<f32>()))
    }
}
