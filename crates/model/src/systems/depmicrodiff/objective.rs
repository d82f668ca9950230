//! What training minimises: the autoencoder's loss, and the denoiser's error on hidden entries.

use super::ar_steps::ArSteps;
use super::batch::{Flag, LatentScale, Rows, time_features};
use super::config::Config;
use super::dat::{self, Beside, Dat, Noisy, StreamMasks};
use super::entries::{Entries, Known, Standardisation};
use super::guide::{BoundGuide, Guesses, Seen, metadata_of};
use super::mask::{Dependent, attention_mask};
use super::neighbours::PassedOver;
use super::vae::Vae;
use crate::cond::Conditions;
use crate::error::Result;
use crate::noise::schedule::CosineSchedule;
use crate::parameters::{Absent, Builder, Parameters, tensor};
use crate::rng::{Stage, generator, standard_normal};
use crate::train::fit::{Objective, Shard};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A cohort to train on: its entries, metadata, and the samples that hold something.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) entries: Entries<'a>,
    pub(super) conditions: Option<Conditions>,
    pub(super) samples: Vec<usize>,
    /// Per sample of the cohort, the member of the guide that has not seen it.
    pub(super) folds: Vec<usize>,
}

/// Samples per cohort that train and that validate.
#[derive(Clone)]
pub(super) struct Split {
    pub(super) train: Vec<(usize, Vec<usize>)>,
    pub(super) validation: Vec<(usize, Vec<usize>)>,
}

impl Split {
    /// Every (cohort, sample) that validates.
    fn held_out(&self) -> Vec<(usize, usize)> {
        let of_cohort = |(cohort, samples): &(usize, Vec<usize>)| {
            let cohort = *cohort;
            samples
                .clone()
                .into_iter()
                .map(move |sample| (cohort, sample))
        };
        self.validation.iter().flat_map(of_cohort).collect()
    }
}

fn pick(split: &[(usize, Vec<usize>)], n: usize, rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let n_all: usize = split.iter().map(|(_, samples)| samples.len()).sum();
    (0..n.min(n_all))
        .map(|_| {
            let mut at = rng.random_range(0..n_all);
            for (cohort, samples) in split {
                if at < samples.len() {
                    return (*cohort, samples[at]);
                }
                at -= samples.len();
            }
            unreachable!("the position is below the number of samples")
        })
        .collect()
}

/// The autoencoder's loss (Eq. 8).
pub(super) struct VaeObjective<'a> {
    pub(super) config: &'a Config,
    pub(super) cohorts: &'a [Source<'a>],
    pub(super) standardisation: &'a Standardisation,
    pub(super) guide: Option<&'a BoundGuide<'a>>,
    pub(super) seed: u64,
    pub(super) split: Split,
}

impl VaeObjective<'_> {
    /// Rows of these samples. With a guide, entries are hidden as for the denoiser: a token holds an
    /// abundance around mean + offset or, where it is hidden, around the guess.
    pub(super) fn rows(&self, chosen: &[(usize, usize)], rng: &mut ChaCha8Rng) -> Rows {
        let hidden = chosen
            .iter()
            .map(|&(cohort, sample)| {
                let entries = &self.cohorts[cohort].entries;
                match self.guide {
                    Some(_) => hide_sample(self.config, entries, sample, rng),
                    None => Hidden::nothing(entries.known_row(sample)),
                }
            })
            .collect();
        let told = Told { chosen, hidden };
        told.rows(self.cohorts, self.standardisation, self.guide, &|_| false)
    }

    fn chosen(&self, step: usize) -> Vec<(usize, usize)> {
        let mut rng = generator(self.seed, Stage::Batch, "vae", step as u64);
        pick(
            &self.split.train,
            self.config.vae.training.batch_size,
            &mut rng,
        )
    }

    fn vae_loss(&self, builder: &mut Builder, rows: &Rows, rng: &mut ChaCha8Rng) -> Tensor<1> {
        let device = &builder.device().clone();
        let n_taxa = self.standardisation.mean.len();
        let vae = Vae::new(builder, &self.config.vae, n_taxa);
        let d = self.config.vae.d_latent;
        let noise = tensor(
            standard_normal(rng, rows.len() * n_taxa * d),
            [rows.len(), n_taxa, d],
            device,
        );
        vae.loss(
            rows.entries(device),
            rows.is_known(device),
            noise,
            self.config.vae.kl_weight,
        )
    }
}

impl Objective for VaeObjective<'_> {
    fn n_shards(&self) -> usize {
        1
    }

    fn loss(&self, builder: &mut Builder, step: usize, _: usize) -> Shard {
        let mut rng = generator(self.seed, Stage::TrainingStep, "vae", step as u64);
        let rows = self.rows(&self.chosen(step), &mut rng);
        Shard {
            loss: self.vae_loss(builder, &rows, &mut rng),
            share: 1.0,
        }
    }

    fn validate(&self, parameters: &Parameters, device: &Device) -> Result<Option<f64>> {
        let chosen = self.split.held_out();
        if chosen.is_empty() {
            return Ok(None);
        }
        let mut rng = generator(self.seed, Stage::Validation, "vae", 0);
        let mut builder = Builder::new(parameters, Absent::Refuse, device);
        let rows = self.rows(&chosen, &mut rng);
        let loss = self.vae_loss(&mut builder, &rows, &mut rng);
        builder.finish()?;
        Ok(Some(f64::from(loss.into_scalar::<f32>())))
    }

    fn samples(&self, step: usize) -> Vec<String> {
        names(self.cohorts, &self.chosen(step))
    }
}

/// Samples and what the networks are told of their entries.
struct Told<'a> {
    chosen: &'a [(usize, usize)],
    hidden: Vec<Hidden>,
}

impl Told<'_> {
    /// The rows around the guesses of members that have not seen them.
    fn rows(
        &self,
        cohorts: &[Source],
        standardisation: &Standardisation,
        guide: Option<&BoundGuide>,
        is_metadata_dropped: &dyn Fn(usize) -> bool,
    ) -> Rows {
        let seen: Vec<Seen> = (0..self.chosen.len())
            .map(|row| {
                let (cohort, sample) = self.chosen[row];
                let source = &cohorts[cohort];
                let metadata = metadata_of(source.conditions.as_ref(), sample);
                Seen {
                    entries: &source.entries,
                    sample,
                    flags: &self.hidden[row].flags,
                    passed_over: self.hidden[row].passed_over,
                    metadata: metadata.filter(|_| !is_metadata_dropped(row)),
                }
            })
            .collect();
        let fold = |(cohort, sample): &(usize, usize)| Some(cohorts[*cohort].folds[*sample]);
        let folds: Vec<Option<usize>> = self.chosen.iter().map(fold).collect();
        let guesses = Guesses::of(guide, &seen, &folds);
        let mut rows = Rows::new(standardisation.mean.len());
        for (row, seen) in seen.iter().enumerate() {
            let guess = guesses.row(row);
            let (entries, sample) = (seen.entries, seen.sample);
            rows.push(entries, sample, seen.flags, standardisation, guess.as_ref());
        }
        rows
    }
}

fn names(cohorts: &[Source], chosen: &[(usize, usize)]) -> Vec<String> {
    chosen
        .iter()
        .map(|(cohort, sample)| cohorts[*cohort].entries.sample_id(*sample).to_string())
        .collect()
}

/// The denoiser's squared error on hidden entries.
pub(super) struct DatObjective<'a> {
    pub(super) config: &'a Config,
    pub(super) cohorts: &'a [Source<'a>],
    pub(super) standardisation: &'a Standardisation,
    pub(super) guide: Option<&'a BoundGuide<'a>>,
    pub(super) latent_scale: &'a LatentScale,
    pub(super) vae: &'a Parameters,
    pub(super) dependent: &'a Dependent,
    pub(super) beside: Beside,
    pub(super) seed: u64,
    pub(super) split: Split,
}

impl DatObjective<'_> {
    fn chosen(&self, step: usize) -> Vec<(usize, usize)> {
        let mut rng = generator(self.seed, Stage::Batch, "denoiser", step as u64);
        pick(&self.split.train, self.batch_size(), &mut rng)
    }

    /// Samples of a step: fewer in wide tables, whose samples have more tokens to learn from.
    fn batch_size(&self) -> usize {
        let n_taxa = self.standardisation.mean.len();
        let dat = &self.config.dat;
        (dat.max_batch_tokens / n_taxa).clamp(1, dat.training.batch_size)
    }

    fn rows(&self, chosen: &[(usize, usize)], rng: &mut ChaCha8Rng) -> Rows {
        let (mut hidden, mut is_dropped) = (Vec::new(), Vec::new());
        for &(cohort, sample) in chosen {
            let entries = &self.cohorts[cohort].entries;
            hidden.push(hide_sample(self.config, entries, sample, rng));
            is_dropped.push(rng.random_bool(self.config.dat.metadata_dropout));
        }
        let told = Told { chosen, hidden };
        let is_gone = |row: usize| is_dropped[row];
        let mut rows = told.rows(self.cohorts, self.standardisation, self.guide, &is_gone);
        if self.beside.n_neighbours > 0 {
            for (&(cohort, sample), hidden) in chosen.iter().zip(&told.hidden) {
                let (entries, around) = (&self.cohorts[cohort].entries, hidden.passed_over);
                rows.push_neighbours(entries, sample, around, self.standardisation);
            }
        }
        let d_metadata = self.beside.d_metadata;
        if d_metadata > 0 {
            let none = Conditions {
                values: vec![0.0; d_metadata],
                missing: vec![true],
                dim: d_metadata,
                description: String::new(),
            };
            for (&(cohort, sample), is_dropped) in chosen.iter().zip(is_dropped) {
                match &self.cohorts[cohort].conditions {
                    Some(conditions) => rows.push_metadata(conditions, sample, is_dropped),
                    None => rows.push_metadata(&none, 0, true),
                }
            }
        }
        rows
    }

    /// Weighted squared error of the prediction on hidden entries.
    fn denoising_loss(
        &self,
        builder: &mut Builder,
        rows: &Rows,
        rng: &mut ChaCha8Rng,
    ) -> Tensor<1> {
        let device = &builder.device().clone();
        let config = self.config;
        let (n_rows, n_taxa, d) = (
            rows.len(),
            self.standardisation.mean.len(),
            config.vae.d_latent,
        );
        let dat = Dat::new(
            builder,
            &config.dat,
            &config.vae,
            self.dependent,
            self.beside,
        );
        let mut frozen = Builder::new(self.vae, Absent::Refuse, device);
        let vae = Vae::new(&mut frozen, &config.vae, n_taxa);

        let mut order: Vec<usize> = (0..n_taxa).collect();
        order.shuffle(rng);
        let steps = ArSteps::draw(n_taxa, config.dat.ar_decay, rng);
        self.dependent.sort_by_group(&mut order, &steps);
        let mode = config.dat.dependency_mask;
        let mask = attention_mask(
            &steps,
            Dat::n_condition_tokens(&config.dat, self.beside),
            self.dependent,
            &order,
            mode,
        );
        let masks = StreamMasks::new(&mask, 0..n_taxa);

        let schedule = CosineSchedule::new(config.dat.n_timesteps);
        let step_sizes = steps.sizes();
        let timesteps: Vec<usize> = (0..n_rows * step_sizes.len())
            .map(|_| rng.random_range(1..=config.dat.n_timesteps))
            .collect(); // [rows, steps]
        let step_of_token = steps.step_of_token();
        let per_token = |f: &dyn Fn(f64) -> f64| {
            let values = timesteps
                .chunks(step_sizes.len())
                .flat_map(|of_step| step_of_token.iter().map(|step| of_step[*step]))
                .map(|t| f(schedule.alpha_bar(t)) as f32)
                .collect();
            tensor::<3>(values, [n_rows, n_taxa, 1], device)
        };
        let noise = tensor(
            standard_normal(rng, n_rows * n_taxa * d),
            [n_rows, n_taxa, d],
            device,
        );

        let latents = rows.latents(&vae, self.latent_scale, device).detach();
        let neighbours = rows.neighbours(&vae, self.latent_scale, device);
        let known = dat::Known {
            neighbours: neighbours.map(Tensor::detach),
            ..rows.known_in_training(&latents, device)
        };
        let token_order = order_tensor(&order, device);
        let clean = latents.select(1, token_order.clone()); // [rows, n_taxa, d], token order
        let noisy = clean.clone() * per_token(&|ab| ab.sqrt())
            + noise.clone() * per_token(&|ab| (1.0 - ab).sqrt());
        let prediction = config.dat.prediction;
        let target = clean.clone() * per_token(&|ab| prediction.target(ab).0)
            + noise * per_token(&|ab| prediction.target(ab).1);

        let visible = clean.slice([0..n_rows, 0..steps.n_visible(), 0..d]);
        let context = dat.context(&known, visible, &token_order, &masks);
        let time = time_features(&timesteps, [n_rows, step_sizes.len()], device);
        let predicted = dat.denoise(
            Noisy {
                values: noisy,
                time,
                step_sizes: step_sizes.clone(),
                tokens: 0..n_taxa,
            },
            &token_order,
            &context,
            &masks,
            None,
        );

        let in_table_order = rows.loss_weights(config.hiding.known_present);
        let weights = (0..n_rows)
            .flat_map(|row| order.iter().map(move |taxon| row * n_taxa + taxon))
            .map(|at| in_table_order[at])
            .collect();
        let error = predicted - target;
        let squared =
            (error.clone() * error).mean_dim(2) * tensor(weights, [n_rows, n_taxa, 1], device);
        squared.sum()
    }
}

/// Taxon of each token as an index tensor.
pub(super) fn order_tensor(order: &[usize], device: &Device) -> Tensor<1, Int> {
    let order: Vec<i64> = order.iter().map(|taxon| *taxon as i64).collect();
    let n = order.len();
    Tensor::from_data(TensorData::new(order, [n]), device)
}

/// What is hidden of a training sample, and of the samples around it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hidden {
    pub(super) flags: Vec<Flag>,
    pub(super) passed_over: PassedOver,
}

impl Hidden {
    fn nothing(known: Vec<Known>) -> Self {
        Hidden {
            flags: known.into_iter().map(Flag::of).collect(),
            passed_over: PassedOver::default(),
        }
    }
}

/// Share of the training samples with others of their subject in sight that are hidden as a whole, so that
/// filling a missing time point is trained for.
const WHOLE_SAMPLES: f64 = 0.4;

/// Hides entries of a training sample or, if others of its subject are in sight, at times all of it.
pub(super) fn hide_sample(
    config: &Config,
    entries: &Entries,
    sample: usize,
    rng: &mut ChaCha8Rng,
) -> Hidden {
    let known = entries.known_row(sample);
    let passed_over = match entries.timeline() {
        Some(_) => PassedOver::draw(rng),
        None => PassedOver::default(),
    };
    let is_whole = entries.around(sample, passed_over).is_some() && rng.random_bool(WHOLE_SAMPLES);
    let flags = match is_whole {
        true => hide_whole(config, &known, rng),
        false => hide(config, &known, rng),
    };
    Hidden { flags, passed_over }
}

/// Largest share of the taxa of a sample hidden as a whole that are judged to be absent although they are
/// not: filling judges presence first, and misses some.
const MOST_MISSED: f64 = 0.4;

/// Hides all of a sample: either everything alike, or present taxa are flagged as such, except for a random
/// share of them.
fn hide_whole(config: &Config, known: &[Known], rng: &mut ChaCha8Rng) -> Vec<Flag> {
    let missed = match rng.random_bool(config.hiding.known_present) {
        true => rng.random_range(0.0..=MOST_MISSED),
        false => 1.0,
    };
    let flag = |known: &Known| match known {
        Known::Withheld => Flag::HiddenPresent,
        Known::Present if !rng.random_bool(missed) => Flag::HiddenPresent,
        Known::Present | Known::Absent | Known::Unknown => Flag::Hidden,
    };
    known.iter().map(flag).collect()
}

/// Hides entries of a training sample at a random rate; either non-zeros that are flagged as
/// present, or non-zeros and zeros alike.
pub(super) fn hide(config: &Config, known: &[Known], rng: &mut ChaCha8Rng) -> Vec<Flag> {
    let is_known_present = rng.random_bool(config.hiding.known_present);
    let rate = rng.random_range(config.hiding.least..=config.hiding.most);
    known
        .iter()
        .map(|known| {
            let is_hidden = rng.random_bool(rate);
            match (known, is_hidden, is_known_present) {
                (Known::Present, true, true) => Flag::HiddenPresent,
                (Known::Present | Known::Absent, true, false) => Flag::Hidden,
                (known, _, _) => Flag::of(*known),
            }
        })
        .collect()
}

/// Hidden copies of the validation samples; more lower the noise of the comparison.
const N_VALIDATION_COPIES: usize = 4;

impl Objective for DatObjective<'_> {
    fn n_shards(&self) -> usize {
        let n_train: usize = self
            .split
            .train
            .iter()
            .map(|(_, samples)| samples.len())
            .sum();
        let n_rows = self.batch_size().min(n_train);
        self.config.dat.n_shards.min(n_rows)
    }

    fn loss(&self, builder: &mut Builder, step: usize, shard: usize) -> Shard {
        let chosen = self.chosen(step);
        let n_shards = self.n_shards();
        let part = &chosen[shard * chosen.len() / n_shards..(shard + 1) * chosen.len() / n_shards];
        let mut rng = generator(
            self.seed,
            Stage::TrainingStep,
            &format!("denoiser {shard}"),
            step as u64,
        );
        let rows = self.rows(part, &mut rng);
        let loss = self.denoising_loss(builder, &rows, &mut rng);
        Shard {
            loss,
            share: part.len() as f64 / chosen.len() as f64,
        }
    }

    fn validate(&self, parameters: &Parameters, device: &Device) -> Result<Option<f64>> {
        let chosen = self.split.held_out();
        if chosen.is_empty() {
            return Ok(None);
        }
        let (mut sum, mut weight) = (0.0, 0.0);
        for copy in 0..N_VALIDATION_COPIES {
            for (i, part) in chosen
                .chunks(self.config.dat.training.batch_size)
                .enumerate()
            {
                let mut rng = generator(
                    self.seed,
                    Stage::Validation,
                    &format!("denoiser {i}"),
                    copy as u64,
                );
                let rows = self.rows(part, &mut rng);
                let mut builder = Builder::new(parameters, Absent::Refuse, device);
                let loss = self.denoising_loss(&mut builder, &rows, &mut rng);
                builder.finish()?;
                sum += f64::from(loss.into_scalar::<f32>()) * part.len() as f64;
                weight += part.len() as f64;
            }
        }
        Ok(Some(sum / weight))
    }

    fn samples(&self, step: usize) -> Vec<String> {
        names(self.cohorts, &self.chosen(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 4] = [
        Known::Present,
        Known::Absent,
        Known::Unknown,
        Known::Withheld,
    ];

    #[test]
    fn a_sample_hidden_as_a_whole_shows_no_value_and_no_zero() {
        let config = Config::tiny();
        let (mut n_known, mut n_nothing) = (0, 0);
        for number in 0..200 {
            let mut rng = generator(1, Stage::TrainingStep, "whole", number);
            let flags = hide_whole(&config, &KNOWN.repeat(10), &mut rng);
            let mut present = Vec::new();
            for (flag, known) in flags.iter().zip(KNOWN.iter().cycle()) {
                match known {
                    Known::Present => present.push(*flag),
                    Known::Withheld => assert_eq!(*flag, Flag::HiddenPresent),
                    Known::Absent | Known::Unknown => assert_eq!(*flag, Flag::Hidden),
                }
                assert!(!flag.is_observed());
            }
            match present.contains(&Flag::HiddenPresent) {
                true => n_known += 1,
                false => n_nothing += 1,
            }
        }
        assert!(n_known > 60 && n_nothing > 60, "{n_known} {n_nothing}");
    }

    #[test]
    fn without_times_no_sample_is_hidden_as_a_whole_and_no_number_is_drawn_for_it() {
        let ids = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let rows: Vec<f64> = (0..40).map(|i| f64::from(i % 3)).collect();
        let table = suffuse_data::Table::from_dense(ids("s", 4), ids("t", 10), &rows).unwrap();
        let entries = Entries::of_table(table);
        let config = Config::tiny();
        for number in 0..20 {
            let mut rng = generator(2, Stage::TrainingStep, "", number);
            let mut same = rng.clone();
            let hidden = hide_sample(&config, &entries, 1, &mut rng);
            assert_eq!(
                hidden.flags,
                hide(&config, &entries.known_row(1), &mut same)
            );
            assert_eq!(rng, same);
            assert_eq!(hidden.passed_over, PassedOver::default());
        }
    }
}
