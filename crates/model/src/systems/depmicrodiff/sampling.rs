//! The reverse process over autoregressive steps, in padded tiles of one fixed size.

use super::Model;
use super::ar_steps::ArSteps;
use super::batch::{Flag, Rows, time_features};
use super::config::TokenOrder;
use super::dat::{self, Dat, Noisy, StreamMasks};
use super::entries::Entries;
use super::guide::{BoundGuide, Guesses, Seen, metadata_of};
use super::mask::attention_mask;
use super::neighbours::PassedOver;
use super::objective::order_tensor;
use super::vae::{Vae, presence};
use crate::cond::Conditions;
use crate::device::{self, Device};
use crate::error::{Error, Result};
use crate::noise::schedule::CosineSchedule;
use crate::parameters::{Absent, Builder, tensor, values};
use crate::rng::{Stage, generator, standard_normal};
use crate::sample::sampler::timesteps;
use crate::sample::{Sampler, second_order, step};
use burn::tensor::Tensor;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows of a tile. Matrix products of one shape take one path, so a row's result cannot depend on
/// how many samples there are or on how they are batched.
pub(super) const TILE: usize = 32;

/// One row to sample: a sample, what is hidden of it, and which draw it is.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) sample: usize,
    pub(super) flags: Vec<Flag>,
    /// Key of the noise, with the sample id.
    pub(super) draw: u64,
    /// The one member of the guide to ask, for a sample that the others have seen.
    pub(super) fold: Option<usize>,
    /// Of the samples around it.
    pub(super) passed_over: PassedOver,
}

/// What is the same for all rows of a run.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) entries: &'a Entries<'a>,
    pub(super) conditions: Option<&'a Conditions>,
    pub(super) sampler: Sampler,
    pub(super) seed: u64,
    pub(super) device: &'a Device,
    pub(super) interrupted: &'a AtomicBool,
}

/// One sampled row: per taxon, probability of presence and ln(1+percent) given presence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawn {
    pub(super) presence: Vec<f32>,
    pub(super) abundance: Vec<f64>,
    /// What the network expects of the abundance before it has seen any of the noise: from pure noise
    /// the estimate of the clean latent is the mean over all that fit the condition, so its mean over
    /// draws scatters less than that of the draws.
    pub(super) expected: Vec<f64>,
    /// What the guide expects; without a guide, mean and offset.
    pub(super) guess: Vec<f64>,
}

impl Model {
    /// Order of the tokens and sizes of the autoregressive steps at sampling.
    pub fn token_plan(&self, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let n_taxa = self.feature_ids.len();
        let mut order: Vec<usize> = (0..n_taxa).collect();
        match self.config.sampling.token_order {
            TokenOrder::Table => {}
            TokenOrder::Shuffled => order.shuffle(&mut generator(seed, Stage::TokenOrder, "", 0)),
            TokenOrder::Upstream => {
                let n_dependents = self.dependent.n_dependents();
                order.sort_by_key(|taxon| std::cmp::Reverse(n_dependents[*taxon]));
            }
        }
        let steps = ArSteps::even(n_taxa, self.config.sampling.n_ar_steps);
        self.dependent.sort_by_group(&mut order, &steps);
        (order, steps.sizes())
    }

    /// Samples every job; the result of a job depends on nothing but the job.
    pub(super) fn sample(&self, run: &Run, plan: &Plan, jobs: &[Job]) -> Result<Vec<Drawn>> {
        let tiles: Vec<&[Job]> = jobs.chunks(TILE).collect();
        let drawn = device::each(run.device, tiles.len(), |i| {
            if run.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            Ok(self.sample_tile(run, plan, tiles[i]))
        })?;
        Ok(drawn.into_iter().flatten().collect())
    }

    /// Probability of presence per taxon of every job, as the guide has it; `None` without a guide.
    ///
    /// The guide sees the table itself, not its latents, and is asked for nothing but the expectation: it tells
    /// false zeros from true ones better than draws of the network do.
    pub(super) fn presence_by_guide(
        &self,
        run: &Run,
        plan: &Plan,
        jobs: &[Job],
    ) -> Result<Option<Vec<Vec<f64>>>> {
        if plan.guide.is_none() {
            return Ok(None);
        }
        let tiles: Vec<&[Job]> = jobs.chunks(TILE).collect();
        let judged = device::each(run.device, tiles.len(), |i| {
            if run.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let seen: Vec<Seen> = jobs_in_tile(tiles[i]).map(|job| run.seen(job)).collect();
            let folds: Vec<Option<usize>> = jobs_in_tile(tiles[i]).map(|job| job.fold).collect();
            let guesses = Guesses::of(plan.guide.as_ref(), &seen, &folds);
            let of_row = |row: usize| -> Vec<f64> {
                let logits = guesses
                    .row(row)
                    .map_or(&[][..], |guess| guess.presence_logit);
                let probability = |logit: &f64| 1.0 / (1.0 + (-logit).exp());
                logits.iter().map(probability).collect()
            };
            Ok((0..tiles[i].len()).map(of_row).collect::<Vec<_>>())
        })?;
        Ok(Some(judged.into_iter().flatten().collect()))
    }

    fn sample_tile(&self, run: &Run, plan: &Plan, jobs: &[Job]) -> Vec<Drawn> {
        let device = run.device;
        let (n_taxa, d) = (self.feature_ids.len(), self.config.vae.d_latent);
        let mut rows = Rows::new(n_taxa);
        let mut noise: Vec<ChaCha8Rng> = Vec::with_capacity(TILE);
        let seen: Vec<Seen> = jobs_in_tile(jobs).map(|job| run.seen(job)).collect();
        let folds: Vec<Option<usize>> = jobs_in_tile(jobs).map(|job| job.fold).collect();
        let guesses = Guesses::of(plan.guide.as_ref(), &seen, &folds);
        for (position, job) in jobs_in_tile(jobs).enumerate() {
            let guess = guesses.row(position);
            let (entries, standardisation) = (run.entries, &self.standardisation);
            rows.push(
                entries,
                job.sample,
                &job.flags,
                standardisation,
                guess.as_ref(),
            );
            if self.rhythm.is_some() {
                rows.push_neighbours(entries, job.sample, job.passed_over, standardisation);
            }
            if let Some(conditions) = run.conditions {
                rows.push_metadata(conditions, job.sample, false);
            }
            noise.push(generator(
                run.seed,
                Stage::Sampling,
                run.entries.sample_id(job.sample),
                job.draw,
            ));
        }
        let draw = |noise: &mut [ChaCha8Rng], n: usize| {
            let values = noise
                .iter_mut()
                .flat_map(|rng| standard_normal(rng, n * d))
                .collect();
            tensor::<3>(values, [TILE, n, d], device)
        };
        let latents = rows.latents(&plan.vae, &self.latent_scale, device);
        let known = dat::Known {
            neighbours: rows.neighbours(&plan.vae, &self.latent_scale, device),
            ..rows.known(&latents, device)
        };
        let order = order_tensor(&plan.order, device);
        let observed = known.observed.clone().select(1, order.clone()); // [TILE, n_taxa, d], token order
        let is_observed: Vec<f32> = jobs_in_tile(jobs)
            .flat_map(|job| {
                plan.order
                    .iter()
                    .map(|t| f32::from(u8::from(job.flags[*t].is_observed())))
            })
            .collect();
        let is_observed = tensor::<3>(is_observed, [TILE, n_taxa, 1], device);

        let mut clean: Vec<Tensor<3>> = Vec::new();
        let mut expected: Vec<Tensor<3>> = Vec::new();
        for ar_step in &plan.ar_steps {
            let range = ar_step.range.clone();
            let n = range.len();
            let visible = match clean.is_empty() {
                true => Tensor::zeros([TILE, 0, d], device),
                false => Tensor::cat(clean.clone(), 1),
            };
            let context = plan.dat.context(&known, visible, &order, &ar_step.masks);
            let here = |x: &Tensor<3>| {
                let [_, _, width] = x.dims();
                x.clone().slice([0..TILE, range.clone(), 0..width])
            };
            let (fixed, is_fixed) = (here(&observed), here(&is_observed));
            let is_free = is_fixed.clone().neg() + 1.0;
            let first_noise = draw(&mut noise, n);
            let mut x = first_noise.clone();
            let mut last: Option<(Tensor<3>, f64)> = None;
            for (i, &t) in ar_step.timesteps.iter().enumerate() {
                let alpha_bar = plan.schedule.alpha_bar(t);
                // Observed tokens are carried along the forward process, as in training.
                let carried = fixed.clone() * alpha_bar.sqrt()
                    + first_noise.clone() * (1.0 - alpha_bar).sqrt();
                let noisy = carried * is_fixed.clone() + x * is_free.clone();
                let time = time_features(&[t], [1, 1], device);
                let predicted = plan.dat.denoise(
                    Noisy {
                        values: noisy.clone(),
                        time,
                        step_sizes: vec![n],
                        tokens: range.clone(),
                    },
                    &order,
                    &context,
                    &ar_step.masks,
                    None,
                );
                let mix = self.config.dat.prediction.clean(alpha_bar);
                let estimate = (noisy.clone() * mix.noisy + predicted * mix.prediction)
                    .clamp(-MAX_LATENT, MAX_LATENT);
                if i == 0 {
                    let estimate = estimate.clone() * is_free.clone();
                    expected.push(fixed.clone() * is_fixed.clone() + estimate);
                }
                let next = ar_step.timesteps.get(i + 1).copied().unwrap_or(0);
                let alpha_bar_next = plan.schedule.alpha_bar(next);
                let step = step(run.sampler.is_ancestral(), alpha_bar, alpha_bar_next);
                let newest = (estimate.clone(), alpha_bar);
                let estimate = match last.replace(newest) {
                    Some((before, alpha_bar_before)) if run.sampler.is_second_order() => {
                        let [now, earlier] =
                            second_order([alpha_bar_before, alpha_bar, alpha_bar_next]);
                        estimate * now + before * earlier
                    }
                    _ => estimate,
                };
                x = noisy * step.noisy + estimate * step.clean;
                if step.noise > 0.0 {
                    x = x + draw(&mut noise, n) * step.noise;
                }
            }
            clean.push(fixed * is_fixed + x * is_free);
        }
        let mut position = vec![0; n_taxa];
        plan.order
            .iter()
            .enumerate()
            .for_each(|(token, taxon)| position[*taxon] = token);
        let decode = |tokens: Vec<Tensor<3>>| {
            let tokens = Tensor::cat(tokens, 1); // [TILE, n_taxa, d], token order
            let tokens = tokens.select(1, order_tensor(&position, device));
            plan.vae.decode(self.latent_scale.inverse(tokens))
        };
        let (decoded, expected) = (decode(clean), decode(expected));
        let is_present = values(presence(&decoded));
        let abundance = values(decoded.abundance);
        let expected = values(expected.abundance);
        (0..jobs.len())
            .map(|row| {
                let range = row * n_taxa..(row + 1) * n_taxa;
                let in_logs = |standardised: &[f32]| {
                    let all = standardised.iter().enumerate();
                    let least = &self.standardisation.least;
                    all.map(|(taxon, u)| rows.in_logs(row, taxon, f64::from(*u), least))
                        .collect()
                };
                Drawn {
                    presence: is_present[range.clone()].to_vec(),
                    abundance: in_logs(&abundance[range.clone()]),
                    expected: in_logs(&expected[range]),
                    guess: in_logs(&vec![0.0; n_taxa]),
                }
            })
            .collect()
    }

    /// Attention between taxa: mean over samples, heads and blocks when all tokens are half noise.
    ///
    /// Entry `(i, j)` is how much taxon `i` looks at taxon `j`, in the table's order.
    ///
    /// # Errors
    /// Weights that do not fit the configuration.
    pub(super) fn attention_between_taxa(&self, run: &Run, samples: &[usize]) -> Result<Vec<f64>> {
        let device = run.device;
        let (n_taxa, d) = (self.feature_ids.len(), self.config.vae.d_latent);
        let plan = Plan::new(self, run)?;
        let order: Vec<usize> = (0..n_taxa).collect();
        let steps = ArSteps::of_sizes(&[n_taxa]);
        let n_condition = Dat::n_condition_tokens(&self.config.dat, self.beside());
        let mode = self.config.dat.dependency_mask;
        let masks = StreamMasks::new(
            &attention_mask(&steps, n_condition, &self.dependent, &order, mode),
            0..n_taxa,
        );
        let order = order_tensor(&order, device);
        let t = self.config.dat.n_timesteps.div_ceil(2);
        let alpha_bar = plan.schedule.alpha_bar(t);
        let mut sum = vec![0.0; n_taxa * n_taxa];
        let mut n_maps = 0.0;
        for part in samples.chunks(TILE) {
            let mut rows = Rows::new(n_taxa);
            let mut noise = Vec::new();
            for sample in part {
                let flags: Vec<Flag> = run
                    .entries
                    .known_row(*sample)
                    .iter()
                    .map(|known| Flag::of(*known))
                    .collect();
                rows.push(run.entries, *sample, &flags, &self.standardisation, None);
                if self.rhythm.is_some() {
                    let (all, standardisation) = (PassedOver::default(), &self.standardisation);
                    rows.push_neighbours(run.entries, *sample, all, standardisation);
                }
                if let Some(conditions) = run.conditions {
                    rows.push_metadata(conditions, *sample, false);
                }
                noise.extend(standard_normal(
                    &mut generator(run.seed, Stage::Sampling, run.entries.sample_id(*sample), 0),
                    n_taxa * d,
                ));
            }
            let latents = rows.latents(&plan.vae, &self.latent_scale, device);
            let known = dat::Known {
                neighbours: rows.neighbours(&plan.vae, &self.latent_scale, device),
                ..rows.known_in_training(&latents, device)
            };
            let noise = tensor::<3>(noise, [part.len(), n_taxa, d], device);
            let context = plan.dat.context(
                &known,
                Tensor::zeros([part.len(), 0, d], device),
                &order,
                &masks,
            );
            let noisy = latents * alpha_bar.sqrt() + noise * (1.0 - alpha_bar).sqrt();
            let time = time_features(&[t], [1, 1], device);
            let mut maps = Vec::new();
            plan.dat.denoise(
                Noisy {
                    values: noisy,
                    time,
                    step_sizes: vec![n_taxa],
                    tokens: 0..n_taxa,
                },
                &order,
                &context,
                &masks,
                Some(&mut maps),
            );
            for map in maps {
                let [batch, n_heads, n, keys] = map.dims();
                let mean = values(
                    map.slice([0..batch, 0..n_heads, 0..n, n_condition..keys])
                        .mean_dim(1)
                        .sum_dim(0),
                );
                sum.iter_mut()
                    .zip(mean)
                    .for_each(|(sum, weight)| *sum += f64::from(weight));
                n_maps += batch as f64;
            }
        }
        Ok(sum
            .into_iter()
            .map(|sum| sum / f64::max(n_maps, 1.0))
            .collect())
    }
}

/// Largest normalised latent that an estimate of the clean data may take.
const MAX_LATENT: f64 = 12.0;

fn jobs_in_tile(jobs: &[Job]) -> impl Iterator<Item = &Job> {
    (0..TILE).map(|position| &jobs[position.min(jobs.len() - 1)])
}

impl Run<'_> {
    /// A job as the guide sees it.
    fn seen<'a>(&'a self, job: &'a Job) -> Seen<'a> {
        Seen {
            entries: self.entries,
            sample: job.sample,
            flags: &job.flags,
            passed_over: job.passed_over,
            metadata: metadata_of(self.conditions, job.sample),
        }
    }
}

/// Networks, order, masks and timesteps of a run: prepared once.
pub(super) struct Plan<'a> {
    guide: Option<BoundGuide<'a>>,
    vae: Vae,
    dat: Dat,
    schedule: CosineSchedule,
    order: Vec<usize>,
    ar_steps: Vec<PlannedStep>,
}

struct PlannedStep {
    range: std::ops::Range<usize>,
    masks: StreamMasks,
    timesteps: Vec<usize>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(model: &'a Model, run: &Run) -> Result<Plan<'a>> {
        let device = run.device;
        let config = &model.config;
        let n_taxa = model.feature_ids.len();
        let mut builder = Builder::new(&model.vae.best, Absent::Refuse, device);
        let vae = Vae::new(&mut builder, &config.vae, n_taxa);
        builder.finish()?;
        let mut builder = Builder::new(&model.dat.best, Absent::Refuse, device);
        let dat = Dat::new(
            &mut builder,
            &config.dat,
            &config.vae,
            &model.dependent,
            model.beside(),
        );
        builder.finish()?;
        let (order, sizes) = model.token_plan(run.seed);
        let n_dependents = model.dependent.n_dependents();
        let steps = ArSteps::of_sizes(&sizes);
        let mean_dependents: Vec<f64> = (0..steps.n_steps())
            .map(|s| {
                steps
                    .range(s)
                    .map(|token| n_dependents[order[token]] as f64)
                    .sum::<f64>()
                    / sizes[s] as f64
            })
            .collect();
        let n_steps = run
            .sampler
            .n_steps(config.dat.n_timesteps, &mean_dependents);
        let mode = config.dat.dependency_mask;
        let ar_steps = (0..steps.n_steps())
            .map(|s| {
                let so_far = ArSteps::of_sizes(&sizes[..=s]);
                let mask = attention_mask(
                    &so_far,
                    Dat::n_condition_tokens(&config.dat, model.beside()),
                    &model.dependent,
                    &order,
                    mode,
                );
                PlannedStep {
                    range: steps.range(s),
                    masks: StreamMasks::new(&mask, steps.range(s)),
                    timesteps: timesteps(n_steps[s], config.dat.n_timesteps),
                }
            })
            .collect();
        let guide = model.guide.as_ref().map(|guide| {
            let (config, beside) = (&config.guide, model.beside());
            guide.bind(config, &model.standardisation, beside, device)
        });
        Ok(Plan {
            guide: guide.transpose()?,
            vae,
            dat,
            schedule: CosineSchedule::new(config.dat.n_timesteps),
            order,
            ar_steps,
        })
    }
}
