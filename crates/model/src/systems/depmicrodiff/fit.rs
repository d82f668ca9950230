//! Training: the autoencoder, then the denoiser, each first on other cohorts if there are any.

use super::Model;
use super::ar_steps::ArSteps;
use super::batch::{Flag, LatentScale, Rows, tensor, time_features};
use super::config::Config;
use super::dat::{Dat, StreamMasks};
use super::entries::{Cohort, Conditions, Entries, Known, Standardisation, Totals};
use super::mask::{Dependent, attention_mask};
use super::pretraining;
use super::vae::Vae;
use crate::error::{Error, Result};
use crate::noise::schedule::CosineSchedule;
use crate::parameters::{Absent, Builder, Parameters, values};
use crate::rng::{Stage, generator, standard_normal};
use crate::train::fit::{Objective, Shard};
use crate::train::{Progress, Stages};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ndarray::Array2;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use suffuse_data::Table;
use suffuse_data::transform::Scale;
use suffuse_data::transform::percent::ln1p_percent;
use suffuse_stats::dependency::{DependencyOptions, MiTest, dependencies};

/// How a fit is run; everything but `seed` and `pretrain` leaves the result unchanged.
pub struct FitOptions<'a> {
    /// Seed of all draws.
    pub seed: u64,
    /// Other cohorts to pre-train on; they must not hold samples of the target.
    pub pretrain: &'a [Table],
    /// Folder for the training state; `None` keeps nothing.
    pub checkpoint: Option<&'a Path>,
    /// Told after each step.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

/// Fits the model on a cohort. Entries that are withheld or not measured are never seen.
///
/// A training state of the same table, settings and seed in `options.checkpoint` is continued.
///
/// # Errors
/// A table with fewer than two informative samples or features, a pre-training table that holds
/// the target or has no common feature, a loss that is not finite, an interruption.
pub fn fit(config: &Config, cohort: &Cohort, options: &mut FitOptions) -> Result<Model> {
    let entries = Entries::new(cohort)?;
    let informative = entries.informative_samples();
    if informative.len() < 2 || entries.n_taxa < 2 {
        return Err(Error::Table(format!(
            "{} samples with observed abundances and {} features: at least 2 of each are needed to learn from",
            informative.len(),
            entries.n_taxa
        )));
    }
    let n_taxa = entries.n_taxa;
    let standardisation = Standardisation::fit(&entries);
    let other = pretraining::aligned(cohort, options.pretrain)?;
    let dependent = estimate_dependencies(config, &entries, options.seed)?;
    let d_metadata = cohort.conditions.as_ref().map_or(0, |conditions| conditions.dim);
    let mut stages = Stages {
        folder: options.checkpoint.map(Path::to_path_buf),
        fingerprint: fingerprint(config, cohort, &other, options.seed),
        progress: &mut *options.progress,
        interrupted: options.interrupted,
        log: String::new(),
    };

    let make_vae = |p: &mut Builder| Vae::new(p, &config.vae, n_taxa);
    let mut vae = Parameters::initial(&Parameters::default(), options.seed, make_vae)?;
    let cohorts = [(!other.is_empty()).then_some(("vae-pretraining", &other)), None];
    if let Some((name, other)) = cohorts[0] {
        let objective = VaeObjective { config, cohorts: other, standardisation: &standardisation, seed: options.seed, split: no_split(other) };
        vae = stages.run(name, &config.vae.training, vae, &objective)?.best;
    }
    let target = vec![Source { entries, conditions: cohort.conditions.clone(), samples: informative }];
    let (train, validation) = split(config, &target[0], cohort.groups.as_deref(), options.seed);
    let halves = Split { train: vec![(0, train)], validation: vec![(0, validation)] };
    let objective = VaeObjective {
        config,
        cohorts: &target,
        standardisation: &standardisation,
        seed: options.seed,
        split: halves.clone(),
    };
    let vae = stages.run("vae", &config.vae.training, vae, &objective)?;
    let latent_scale = measure_latents(config, &target[0], &standardisation, &vae.best)?;

    let make_dat = |p: &mut Builder| Dat::new(p, &config.dat, &config.vae, n_taxa, d_metadata);
    let mut dat = Parameters::initial(&Parameters::default(), options.seed, make_dat)?;
    let denoiser = |cohorts, split| DatObjective {
        config,
        cohorts,
        standardisation: &standardisation,
        latent_scale: &latent_scale,
        vae: &vae.best,
        dependent: &dependent,
        d_metadata,
        seed: options.seed,
        split,
    };
    if !other.is_empty() && config.dat.n_pretraining_steps > 0 {
        let training = crate::train::TrainConfig { n_steps: config.dat.n_pretraining_steps, ..config.dat.training };
        dat = stages.run("denoiser-pretraining", &training, dat, &denoiser(&other, no_split(&other)))?.best;
    }
    let dat = stages.run("denoiser", &config.dat.training, dat, &denoiser(&target, halves))?;
    Ok(Model {
        config: *config,
        feature_ids: cohort.table.feature_ids().to_vec(),
        standardisation,
        latent_scale,
        dependent,
        d_metadata,
        metadata_description: cohort.conditions.as_ref().map(|c| c.description.clone()).unwrap_or_default(),
        seed: options.seed,
        log: stages.log,
        vae,
        dat,
    })
}

/// A cohort to train on: its entries, metadata, and the samples that hold something.
pub(super) struct Source {
    pub(super) entries: Entries,
    pub(super) conditions: Option<Conditions>,
    pub(super) samples: Vec<usize>,
}

/// Samples per cohort that train and that validate.
#[derive(Clone)]
struct Split {
    train: Vec<(usize, Vec<usize>)>,
    validation: Vec<(usize, Vec<usize>)>,
}

fn no_split(cohorts: &[Source]) -> Split {
    // A tenth of each cohort validates; the other cohorts have no subjects to keep together.
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (i, cohort) in cohorts.iter().enumerate() {
        let tenth = |(position, _): &(usize, &usize)| position % 10 == 9;
        train.push((i, cohort.samples.iter().enumerate().filter(|s| !tenth(s)).map(|(_, s)| *s).collect()));
        validation.push((i, cohort.samples.iter().enumerate().filter(tenth).map(|(_, s)| *s).collect()));
    }
    Split { train, validation }
}

/// Draws whole groups for validation until the wished share of the samples is reached.
fn split(config: &Config, source: &Source, groups: Option<&[usize]>, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let group_of = |sample: usize| groups.map_or(sample, |groups| groups[sample]);
    let mut order: Vec<usize> = source.samples.iter().map(|sample| group_of(*sample)).collect();
    order.sort_unstable();
    order.dedup();
    order.shuffle(&mut generator(seed, Stage::Validation, "samples", 0));
    let wished = (config.dat.validation_fraction * source.samples.len() as f64).round() as usize;
    let (mut chosen, mut n) = (Vec::new(), 0);
    for group in order.iter().take(order.len().saturating_sub(1)) {
        if n >= wished {
            break;
        }
        n += source.samples.iter().filter(|sample| group_of(**sample) == *group).count();
        chosen.push(*group);
    }
    source.samples.iter().copied().partition(|sample| !chosen.contains(&group_of(*sample)))
}

fn pick(split: &[(usize, Vec<usize>)], n: usize, rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let n_all: usize = split.iter().map(|(_, samples)| samples.len()).sum();
    (0..n.min(n_all.max(1)))
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

struct VaeObjective<'a> {
    config: &'a Config,
    cohorts: &'a [Source],
    standardisation: &'a Standardisation,
    seed: u64,
    split: Split,
}

impl VaeObjective<'_> {
    fn rows(&self, chosen: &[(usize, usize)]) -> Rows {
        let mut rows = Rows::new(self.standardisation.mean.len());
        for &(cohort, sample) in chosen {
            let entries = &self.cohorts[cohort].entries;
            let flags: Vec<Flag> = entries.known_row(sample).iter().map(|known| Flag::of(*known)).collect();
            rows.push(entries, sample, &flags, self.standardisation);
        }
        rows
    }

    fn chosen(&self, step: usize) -> Vec<(usize, usize)> {
        let mut rng = generator(self.seed, Stage::Batch, "vae", step as u64);
        pick(&self.split.train, self.config.vae.training.batch_size, &mut rng)
    }

    fn vae_loss(&self, builder: &mut Builder, rows: &Rows, rng: &mut ChaCha8Rng, device: &Device) -> Tensor<1> {
        let n_taxa = self.standardisation.mean.len();
        let vae = Vae::new(builder, &self.config.vae, n_taxa);
        let d = self.config.vae.d_latent;
        let noise = tensor(standard_normal(rng, rows.len() * n_taxa * d), [rows.len(), n_taxa, d], device);
        vae.loss(rows.entries(device), rows.is_known(device), noise, self.config.vae.kl_weight)
    }
}

impl Objective for VaeObjective<'_> {
    fn n_shards(&self) -> usize {
        1
    }

    fn loss(&self, builder: &mut Builder, step: usize, _: usize) -> Shard {
        let rows = self.rows(&self.chosen(step));
        let mut rng = generator(self.seed, Stage::TrainingStep, "vae", step as u64);
        let device = Device::flex().autodiff();
        Shard { loss: self.vae_loss(builder, &rows, &mut rng, &device), share: 1.0 }
    }

    fn validate(&self, parameters: &Parameters) -> Result<f64> {
        let chosen: Vec<(usize, usize)> =
            self.split.validation.iter().flat_map(|(c, samples)| samples.iter().map(|s| (*c, *s))).collect();
        if chosen.is_empty() {
            return Ok(0.0);
        }
        let mut rng = generator(self.seed, Stage::Validation, "vae", 0);
        let mut builder = Builder::new(parameters, Absent::Refuse, &Device::flex());
        let loss = self.vae_loss(&mut builder, &self.rows(&chosen), &mut rng, &Device::flex());
        builder.finish()?;
        Ok(f64::from(loss.into_scalar::<f32>()))
    }

    fn samples(&self, step: usize) -> Vec<String> {
        names(self.cohorts, &self.chosen(step))
    }
}

fn names(cohorts: &[Source], chosen: &[(usize, usize)]) -> Vec<String> {
    chosen.iter().map(|(cohort, sample)| cohorts[*cohort].entries.sample_ids[*sample].clone()).collect()
}

struct DatObjective<'a> {
    config: &'a Config,
    cohorts: &'a [Source],
    standardisation: &'a Standardisation,
    latent_scale: &'a LatentScale,
    vae: &'a Parameters,
    dependent: &'a Dependent,
    d_metadata: usize,
    seed: u64,
    split: Split,
}

impl DatObjective<'_> {
    fn chosen(&self, step: usize) -> Vec<(usize, usize)> {
        let mut rng = generator(self.seed, Stage::Batch, "denoiser", step as u64);
        pick(&self.split.train, self.config.dat.training.batch_size, &mut rng)
    }

    fn rows(&self, chosen: &[(usize, usize)], rng: &mut ChaCha8Rng) -> Rows {
        let n_taxa = self.standardisation.mean.len();
        let mut rows = Rows::new(n_taxa);
        for &(cohort, sample) in chosen {
            let source = &self.cohorts[cohort];
            let flags = hide(self.config, source.entries.known_row(sample), rng);
            rows.push(&source.entries, sample, &flags, self.standardisation);
            let is_dropped = rng.random_bool(self.config.dat.metadata_dropout);
            if self.d_metadata > 0 {
                let none = Conditions { values: vec![0.0; self.d_metadata], missing: vec![true], dim: self.d_metadata, description: String::new() };
                match &source.conditions {
                    Some(conditions) => rows.push_metadata(conditions, sample, is_dropped),
                    None => rows.push_metadata(&none, 0, true),
                }
            }
        }
        rows
    }

    /// Weighted squared error of the prediction on hidden entries.
    fn denoising_loss(&self, builder: &mut Builder, rows: &Rows, rng: &mut ChaCha8Rng, device: &Device) -> Tensor<1> {
        let config = self.config;
        let (n_rows, n_taxa, d) = (rows.len(), self.standardisation.mean.len(), config.vae.d_latent);
        let dat = Dat::new(builder, &config.dat, &config.vae, n_taxa, self.d_metadata);
        let mut frozen = Builder::new(self.vae, Absent::Refuse, device);
        let vae = Vae::new(&mut frozen, &config.vae, n_taxa);

        let mut order: Vec<usize> = (0..n_taxa).collect();
        order.shuffle(rng);
        let steps = ArSteps::draw(n_taxa, config.dat.ar_decay, rng);
        let dependent = self.dependent.permuted(&order);
        let mode = config.dat.dependency_mask;
        let mask = attention_mask(&steps, Dat::n_condition_tokens(&config.dat), &dependent, mode);
        let masks = StreamMasks::new(&mask, mode, 0..n_taxa, device);

        let schedule = CosineSchedule::new(config.dat.n_timesteps);
        let timesteps: Vec<usize> = (0..n_rows)
            .flat_map(|_| {
                let of_step: Vec<usize> = (0..steps.n_steps()).map(|_| rng.random_range(1..=config.dat.n_timesteps)).collect();
                steps.step_of_token().into_iter().map(move |step| of_step[step])
            })
            .collect();
        let per_token = |f: &dyn Fn(f64) -> f64| {
            let values = timesteps.iter().map(|t| f(schedule.alpha_bar(*t)) as f32).collect();
            tensor::<3>(values, [n_rows, n_taxa, 1], device)
        };
        let noise = tensor(standard_normal(rng, n_rows * n_taxa * d), [n_rows, n_taxa, d], device);

        let latents = rows.latents(&vae, self.latent_scale, device).detach();
        let known = rows.known(&latents, device);
        let token_order = order_tensor(&order, device);
        let clean = latents.select(1, token_order.clone()); // [rows, n_taxa, d], token order
        let noisy = clean.clone() * per_token(&|ab| ab.sqrt()) + noise.clone() * per_token(&|ab| (1.0 - ab).sqrt());
        let prediction = config.dat.prediction;
        let target = clean.clone() * per_token(&|ab| prediction.target(ab).0) + noise * per_token(&|ab| prediction.target(ab).1);

        let visible = clean.slice([0..n_rows, 0..steps.n_visible(), 0..d]);
        let context = dat.context(&known, visible, &token_order, &masks);
        let time = time_features(&timesteps, [n_rows, n_taxa], device);
        let (predicted, _) = dat.denoise(noisy, time, 0..n_taxa, &token_order, &context, &masks);

        let in_table_order = rows.loss_weights(config.hiding.known_present);
        let weights = (0..n_rows).flat_map(|row| order.iter().map(move |taxon| row * n_taxa + taxon)).map(|at| in_table_order[at]).collect();
        let error = predicted - target;
        let squared = (error.clone() * error).mean_dim(2) * tensor(weights, [n_rows, n_taxa, 1], device);
        squared.sum()
    }
}

/// Taxon of each token as an index tensor.
pub(super) fn order_tensor(order: &[usize], device: &Device) -> Tensor<1, Int> {
    let order: Vec<i64> = order.iter().map(|taxon| *taxon as i64).collect();
    let n = order.len();
    Tensor::from_data(TensorData::new(order, [n]), device)
}

/// Hides entries of a training sample at a random rate; either non-zeros that are flagged as
/// present, or non-zeros and zeros alike.
fn hide(config: &Config, known: &[Known], rng: &mut ChaCha8Rng) -> Vec<Flag> {
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
        self.config.dat.n_shards
    }

    fn loss(&self, builder: &mut Builder, step: usize, shard: usize) -> Shard {
        let chosen = self.chosen(step);
        let n_shards = self.n_shards();
        let part = &chosen[shard * chosen.len() / n_shards..(shard + 1) * chosen.len() / n_shards];
        let mut rng = generator(self.seed, Stage::TrainingStep, &format!("denoiser {shard}"), step as u64);
        let rows = self.rows(part, &mut rng);
        let device = Device::flex().autodiff();
        let loss = self.denoising_loss(builder, &rows, &mut rng, &device);
        Shard { loss, share: part.len() as f64 / chosen.len() as f64 }
    }

    fn validate(&self, parameters: &Parameters) -> Result<f64> {
        let chosen: Vec<(usize, usize)> =
            self.split.validation.iter().flat_map(|(c, samples)| samples.iter().map(|s| (*c, *s))).collect();
        if chosen.is_empty() {
            return Ok(0.0);
        }
        let (mut sum, mut weight) = (0.0, 0.0);
        for copy in 0..N_VALIDATION_COPIES {
            for (i, part) in chosen.chunks(self.config.dat.training.batch_size).enumerate() {
                let mut rng = generator(self.seed, Stage::Validation, &format!("denoiser {i}"), copy as u64);
                let rows = self.rows(part, &mut rng);
                let mut builder = Builder::new(parameters, Absent::Refuse, &Device::flex());
                let loss = self.denoising_loss(&mut builder, &rows, &mut rng, &Device::flex());
                builder.finish()?;
                sum += f64::from(loss.into_scalar::<f32>()) * part.len() as f64;
                weight += part.len() as f64;
            }
        }
        Ok(sum / weight)
    }

    fn samples(&self, step: usize) -> Vec<String> {
        names(self.cohorts, &self.chosen(step))
    }
}

/// Mean and spread of the latent dimensions over the known entries of the target cohort.
fn measure_latents(config: &Config, source: &Source, standardisation: &Standardisation, vae: &Parameters) -> Result<LatentScale> {
    let device = Device::flex();
    let d = config.vae.d_latent;
    let n_taxa = standardisation.mean.len();
    let mut builder = Builder::new(vae, Absent::Refuse, &device);
    let network = Vae::new(&mut builder, &config.vae, n_taxa);
    builder.finish()?;
    let (mut n, mut sum, mut square) = (0.0, vec![0.0; d], vec![0.0; d]);
    for part in source.samples.chunks(64) {
        let mut rows = Rows::new(n_taxa);
        for sample in part {
            let flags: Vec<Flag> = source.entries.known_row(*sample).iter().map(|known| Flag::of(*known)).collect();
            rows.push(&source.entries, *sample, &flags, standardisation);
        }
        let latents = values(network.encode(rows.entries(&device)).0);
        let is_known = values(rows.is_known(&device));
        for (latent, is_known) in latents.chunks(d).zip(is_known) {
            if is_known > 0.0 {
                n += 1.0;
                for (k, z) in latent.iter().enumerate() {
                    sum[k] += f64::from(*z);
                    square[k] += f64::from(*z) * f64::from(*z);
                }
            }
        }
    }
    let mean: Vec<f64> = sum.iter().map(|sum| sum / n).collect();
    let sd = square.iter().zip(&mean).map(|(square, mean)| (square / n - mean * mean).max(1e-8).sqrt() as f32).collect();
    Ok(LatentScale { mean: mean.iter().map(|mean| *mean as f32).collect(), sd })
}

/// `Dep` from the entries that are left, and from the same with some more hidden as the input `x`.
fn estimate_dependencies(config: &Config, entries: &Entries, seed: u64) -> Result<Dependent> {
    let samples = entries.informative_samples();
    let mut clean = Array2::zeros((samples.len(), entries.n_taxa));
    let mut hidden = clean.clone();
    let mut rng = generator(seed, Stage::Dependencies, "", 0);
    for (row, sample) in samples.iter().enumerate() {
        let total = Scale(entries.total(*sample, None));
        for (taxon, x) in entries.abundance_row(*sample).iter().enumerate() {
            clean[(row, taxon)] = ln1p_percent(*x, total);
            let is_hidden = rng.random_bool(config.dependencies.hide_fraction);
            hidden[(row, taxon)] = if is_hidden { 0.0 } else { clean[(row, taxon)] };
        }
    }
    let mi_test = match config.dependencies.n_permutations {
        0 => MiTest::GTest,
        n_permutations => MiTest::Permutation { n_permutations, seed },
    };
    let options = DependencyOptions {
        alpha: config.dependencies.false_discovery_rate,
        mi_test,
        min_mi: config.dependencies.min_mutual_information,
        ..DependencyOptions::default()
    };
    let found = dependencies(&hidden, &clean, &options)?;
    Ok(Dependent::new(entries.n_taxa, found.dep.iter().copied().collect()))
}

/// Digest of everything that determines the result of a fit.
fn fingerprint(config: &Config, cohort: &Cohort, other: &[Source], seed: u64) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| hash.update([text.as_bytes(), &[0]].concat());
    text(env!("CARGO_PKG_VERSION"));
    text(&config.to_toml());
    text(&seed.to_string());
    for id in cohort.table.sample_ids().iter().chain(cohort.table.feature_ids()) {
        text(id);
    }
    let mut bits = |values: &[f64]| values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
    bits(&cohort.table.to_dense());
    if let Totals::Given(totals) = &cohort.totals {
        bits(totals);
    }
    other.iter().for_each(|source| bits(&source.entries.abundance));
    for (sample, feature) in cohort.hidden {
        hash.update(sample.to_le_bytes());
        hash.update(feature.to_le_bytes());
    }
    if let Some(conditions) = &cohort.conditions {
        conditions.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        conditions.missing.iter().for_each(|missing| hash.update([u8::from(*missing)]));
    }
    cohort.groups.iter().flatten().for_each(|group| hash.update(group.to_le_bytes()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
